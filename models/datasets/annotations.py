"""The one door to annotations: tells their forms apart by content and reads them.

Training takes `tags_of` from what comes through here, with ``times=False``; times serve
evaluation.
"""

from pathlib import Path

from models.datasets.activitynet import BSN_INSTANCES, is_bsn, load_json, read_activitynet, read_bsn
from models.datasets.instances import AnnotationSet
from models.datasets.thumos import (
    is_evalkit_folder,
    read_detection_table,
    read_evalkit,
    thumos_variant,
)
from models.datasets.wtalc import is_wtalc_folder, read_wtalc
from models.errors import TrainingDataInvalid


def read_annotations(
    path: Path, variant: str | None = None, subset: str | None = None, *, times: bool = True
) -> AnnotationSet:
    """Read annotations of THUMOS14, ActivityNet or anything in their forms.

    A folder is the THUMOS14 evaluation kit's (``<Class>_test.txt``), W-TALC's (``videoname.npy``)
    or BSN's pair for ActivityNet 1.3. A file is JSON in ActivityNet's form (BaS-Net's ``gt.json``
    too), BSN's ``*anno_action*.json``, or the CSV of G-TAD or RTD-Action.

    Args:
        path: file or folder.
        variant: ``210`` or ``212``, the test videos of THUMOS14; None takes all there are.
        subset: keep only its videos, named as the source does (``test``, ``validation``,
            ``training`` ...).
        times: False leaves every time unread, so that no mistake in one can matter; there are
            then no instances and no ambiguous intervals, and no variant can be chosen.

    Raises:
        TrainingDataInvalid: the form is not known, an entry is malformed, or variant or subset
            do not fit.
    """
    annotations = _read_folder(path, times) if path.is_dir() else _read_file(path, times)
    if variant is not None:
        if not times:
            message = "A variant of THUMOS14 can only be chosen together with the times."
            raise TrainingDataInvalid(message)
        annotations = thumos_variant(annotations, variant)
    return annotations if subset is None else annotations.of_subset(subset)


def _read_folder(folder: Path, times: bool) -> AnnotationSet:
    pairs = sorted(folder.glob(BSN_INSTANCES))
    # A W-TALC folder may hold Ambiguous_test.txt, so it comes first.
    if is_wtalc_folder(folder):
        return read_wtalc(folder, times)
    if is_evalkit_folder(folder):
        return read_evalkit(folder, times)
    if len(pairs) == 1:
        return read_bsn(pairs[0], load_json(pairs[0]), times)
    message = (
        f"{folder.name} is no folder of annotations that is known: expected videoname.npy, "
        f"<Class>_test.txt or {BSN_INSTANCES} in it."
    )
    raise TrainingDataInvalid(message)


def _read_file(path: Path, times: bool) -> AnnotationSet:
    if path.suffix.lower() == ".csv":
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            message = f"{path.name} cannot be read as text ({error}); fetch it again."
            raise TrainingDataInvalid(message) from error
        table = read_detection_table(path, text, times)
        if table is not None:
            return table
    elif path.suffix.lower() == ".json":
        document = load_json(path)
        if "database" in document:
            return read_activitynet(path, document, times)
        if is_bsn(document):
            return read_bsn(path, document, times)
    message = (
        f"{path.name} holds no annotations in a known form: expected ActivityNet JSON, BSN's pair, "
        "or the CSV of G-TAD or RTD-Action."
    )
    raise TrainingDataInvalid(message)
