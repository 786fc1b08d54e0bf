"""A document of the doctor as lines for people: one topic, one sentence each."""

from collections.abc import Iterator, Mapping
from typing import Any

GIB = 1024**3
MIB = 1024**2
Document = Mapping[str, Any]
Line = tuple[str, str]
LEVELS = {"avx512": "AVX-512", "avx2": "AVX2", "baseline": "no AVX2"}
# How the estimated recipes are called before people.
RECIPES = {
    "demo": "bundled demo model",
    "published": "published two-stream I3D",
    "published_fast": "published I3D at speed fast",
    "published_rgb_only": "published I3D at speed rgb-only",
}
FACTOR_DIGITS = 2


def detected(document: Document) -> list[Line]:
    """Return (topic, sentence) for everything that was found out."""
    return [
        ("cores", _cores(document["cores"])),
        ("memory", _memory(document["memory"])),
        ("processor", _processor(document["instruction_set"])),
        ("optical flow", _flow(document["flow"])),
        ("GPU", _gpu(document["gpu"])),
        ("precision", _precision(document["precision"])),
        *_versions(document["versions"]),
        ("models", _models(document["models"])),
        *_sandbox(document["sandbox"]),
    ]


def measured(document: Document) -> list[Line]:
    """Return (topic, sentence) for everything that was measured and estimated."""
    return [*_benchmark(document["benchmark"]), *_estimates(document["estimate"])]


def _cores(cores: Document) -> str:
    text = f"{cores['usable']} of {cores['machine']} processors usable"
    if cores["affinity"] < cores["machine"]:
        text += f"; affinity allows {cores['affinity']}"
    if cores["quota"] is not None:
        text += f"; the control group grants {cores['quota']:g}"
    return text


def _memory(memory: Document) -> str:
    if memory["usable_bytes"] is None:
        return "unknown"
    text = f"{memory['usable_bytes'] / GIB:.1f} GiB usable"
    if memory["limit_bytes"] is not None:
        text += " (limit of the control group)"
    if memory["available_bytes"] is not None:
        text += f", {memory['available_bytes'] / GIB:.1f} GiB free on the machine"
    return text


def _processor(instructions: Document) -> str:
    extras = [
        name
        for name, key in (("AVX-512 BF16", "avx512_bf16"), ("AMX BF16", "amx_bf16"))
        if instructions[key]
    ]
    arithmetic = ", ".join([LEVELS[instructions["level"]], *extras])
    return f"{instructions['processor']}: {arithmetic}"


def _flow(flow: Document) -> str:
    if flow["failure"] is not None or flow["implementation"] is None:
        return f"does not work: {flow['failure']}"
    if flow["implementation"] == "native":
        return f"native TV-L1 kernel, version {flow['version']}"
    return f"OpenCV {flow['version']}, many times slower than the native kernel"


def _gpu(gpu: Document) -> str:
    if not gpu["devices"]:
        return f"none: {gpu['reason']}"
    names = ", ".join(
        f"{one['name']} ({one['memory_bytes'] / GIB:.0f} GiB)" for one in gpu["devices"]
    )
    return names if gpu["driver"] is None else f"{names}, driver {gpu['driver']}"


def _precision(precision: Document) -> str:
    if precision["auto"] is None:
        return "unknown"
    text = f"auto takes {precision['auto']}: {precision['reason']}"
    if precision["auto_narrow"] != precision["auto"]:
        text += f"; narrow networks stay with {precision['auto_narrow']}"
    return text


def _versions(versions: Document) -> Iterator[Line]:
    torch = versions["torch"] or "missing"
    yield "torch", f"{torch}, Python {versions['python']}"
    names = (("OpenCV", "opencv"), ("PyAV", "pyav"), ("FFmpeg", "ffmpeg"))
    yield "media", ", ".join(f"{name} {versions[key] or 'missing'}" for name, key in names)


def _models(models: Document) -> str:
    if models["demo"] is None:
        return "unknown, because torch does not load"
    state = "is ready" if models["demo_problem"] is None else "is damaged"
    text = f"{models['demo']} {state}"
    others = [one for one in models["installed"] if one != models["demo"]]
    if others:
        text += f"; also here: {', '.join(others)}"
    if models["weights_pulled"]:
        text += f"; published weights here: {', '.join(models['weights_pulled'])}"
    for name in models["weights_missing"]:
        text += f"; not here: {name} (kinetag models pull {name})"
    return text


def _sandbox(sandbox: Document) -> Iterator[Line]:
    if not sandbox["decode_child"]:
        yield "decoding", f"its process does not work: {sandbox['failure']}"
        return
    limits = sandbox["limits"] or {}
    words = [
        f"at most {limits['memory_bytes'] / GIB:.0f} GiB" if limits.get("memory_bytes") else "",
        f"{limits['open_files']} files" if limits.get("open_files") else "",
        "no writing" if limits.get("file_bytes") == 0 else "",
        "bounded processor time" if limits.get("cpu_seconds") else "",
        "no new privileges" if sandbox["no_new_privs"] else "",
        "system calls filtered" if sandbox["seccomp"] else "",
    ]
    confined = ", ".join(word for word in words if word)
    yield "decoding", f"in a process of its own: {confined or 'not confined here'}"
    landlock, spaces = sandbox["landlock_abi"], sandbox["user_namespaces"]
    parts = [
        "no Landlock"
        if landlock is None
        else _offer(f"Landlock {landlock}", sandbox["landlock_used"]),
        _offer("user namespaces", sandbox["user_namespaces_used"])
        if spaces
        else "no user namespaces",
    ]
    yield "sandbox", "; ".join(parts)


def _offer(name: str, used: bool) -> str:
    return f"{name} in use" if used else f"{name} available, not used yet"


def _benchmark(benchmark: Document | None) -> Iterator[Line]:
    if benchmark is None:
        return
    if (frames := benchmark.get("decode_frames_per_second")) is not None:
        yield "measured", f"decoding: {frames:.0f} frames/s of 340x256 H.264, on one processor"
    threads = benchmark.get("num_threads", 1)
    on = "1 thread" if threads == 1 else f"{threads} threads"
    if (pairs := benchmark.get("published_flow_pairs_per_second")) is not None:
        where = "the GPU" if benchmark.get("flow") == "gpu" else on
        yield "measured", f"optical flow: {pairs:.1f} pairs/s of 340x256, on {where}"
    if (windows := benchmark.get("published_windows_per_second_per_stream")) is not None:
        where = on if benchmark.get("device") == "cpu" else str(benchmark.get("device"))
        precision = benchmark.get("published_precision")
        yield "measured", f"I3D: {windows:.2f} windows/s of one stream in {precision}, on {where}"


def _estimates(estimates: Document | None) -> Iterator[Line]:
    for key, one in (estimates or {}).items():
        factor = f"{one['realtime_factor']:.{FACTOR_DIGITS}g}"
        text = f"{factor} hours of video per hour with the {RECIPES[key]}"
        yield "estimate", f"{text}; most of it {one['bound_by']}"
