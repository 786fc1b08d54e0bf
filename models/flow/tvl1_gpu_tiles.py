"""How the Triton kernels cut a level into programs: plain numbers, without torch or Triton."""

from dataclasses import dataclass

# Programs that keep a large card busy: 132 multiprocessors times 12, twice over.
BUSY_PROGRAMS = 3168


@dataclass(frozen=True, slots=True)
class Cut:
    """The tiles of `tvl1_gpu_relax.relax_kernel`.

    Four iterations on 64 columns take about 168 registers and no shared memory on compute
    capability 9.0, so that 12 programs of one warp share a multiprocessor; the strips of a 341 px
    row then overlap by an eighth.

    Attributes:
        pass_iterations: iterations of one pass.
        strip_lanes: columns of one strip, a power of two above twice the iterations.
        sum_rows: rows whose changes make one sum.
        largest_segment_rows: of one program; segments are whole numbers of sums.
    """

    pass_iterations: int = 4
    strip_lanes: int = 64
    sum_rows: int = 16
    largest_segment_rows: int = 64

    def num_strips(self, width: int) -> int:
        """Return how many strips cover a row and the column before it.

        Neighbouring strips overlap by an iteration's columns on either side each, since what a
        pixel holds moves one pixel per iteration.
        """
        step = self.strip_lanes - 2 * self.pass_iterations
        return 1 + max(0, -(-(width + 1 - self.strip_lanes) // step))

    def num_sums(self, height: int, width: int) -> int:
        """Return how many sums make up the change of one iteration of one pair."""
        return self.num_strips(width) * -(-height // self.sum_rows)

    def segment_rows(self, height: int, programs_per_segment: int) -> int:
        """Return the rows of a segment: many where there is enough to do, few where there is not.

        Longer segments repeat less of each other's work. No result depends on this number.
        """
        segments = -(-BUSY_PROGRAMS // programs_per_segment)
        rows = -(-height // segments)
        return min(self.largest_segment_rows, -(-rows // self.sum_rows) * self.sum_rows)
