import sys

import pytest

from bench.upload import measure_upload

SIZE_BYTES = 128 * 1024 * 1024
MAX_GROWTH_MB = 64


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
def test_memory_stays_flat_and_one_copy_lies_on_disk(tmp_path):
    found = measure_upload(tmp_path, SIZE_BYTES)
    assert found.memory_growth_mb < MAX_GROWTH_MB
    assert found.copies_on_disk == 1
    assert found.peak_copies_on_disk <= 1
    assert found.sha256_right
