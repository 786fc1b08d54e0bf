from models.types import ByteArray, FloatArray

KERNEL_VERSION: str

def targets() -> list[str]: ...
def median(source: FloatArray, target: FloatArray, processor: str = "") -> None: ...

class Solver:
    def __init__(
        self,
        *,
        tau: float,
        lambda_: float,
        theta: float,
        epsilon: float,
        scale_step: float,
        num_scales: int,
        num_warps: int,
        inner_iterations: int,
        outer_iterations: int,
        median: bool,
        processor: str = "",
    ) -> None: ...
    @property
    def processor(self) -> str: ...
    def solve(
        self,
        frames: ByteArray,
        flow: FloatArray,
        num_threads: int,
        corner: tuple[int, int] = (0, 0),
    ) -> None: ...
