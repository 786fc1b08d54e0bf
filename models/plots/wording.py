"""What pictures say in words."""

from models.plots.lanes import MAX_LANES, Bar, Lane, LaneChoice
from models.plots.lettering import clean
from models.plots.ruler import clock, length
from models.plots.scene import Scene

MAX_NAMED = 6


def summary(lane: Lane) -> str:
    """Return how many segments a lane has, and how long they are together."""
    if not lane.marks:
        return "none"
    total = length(sum(mark.end - mark.start for mark in lane.marks))
    return f"{len(lane.marks)} · {total}"


def hint(label: str, bar: Bar) -> str:
    """Return what a bar says of itself; the label is clean."""
    span = f"{clock(bar.start, 0.01)} to {clock(bar.end, 0.01)}"
    if bar.count > 1:
        return f"{bar.count} x {label}, best {bar.score:.2f}, {span}"
    return f"{label} {bar.score:.2f}, {span}"


def subtitle(scene: Scene) -> str:
    """Return the line below a picture's name."""
    parts = [counted(scene.num_segments, "segment"), length(scene.duration_seconds), scene.model]
    if scene.camera is not None:
        parts.append(scene.camera)
    if scene.recorded_at is not None:
        parts.append(f"from {scene.recorded_at:%Y-%m-%d %H:%M:%S} UTC")
    return "  ·  ".join(parts)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural where it is not one."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def described(scene: Scene) -> str:
    """Return a picture in words, for who does not see it."""
    total = counted(scene.num_segments, "segment")
    said = f"{total} in {length(scene.duration_seconds)} of video, found by {scene.model}."
    by_label = [(clean(label), len(marks)) for label, marks in scene.marks.items() if marks]
    if not by_label:
        return f"Nothing found: {said}"
    by_label.sort(key=lambda item: (-item[1], item[0]))
    named = ", ".join(f"{label}: {count}" for label, count in by_label[:MAX_LANES])
    return f"{said} {named}."


def left_out_notes(choice: LaneChoice) -> tuple[str, ...]:
    """Return the note about classes that have no lane; none where all have one."""
    left_out = choice.left_out
    if not left_out:
        return ()
    named = ", ".join(clean(label) for label in left_out[:MAX_NAMED])
    more = " and others" if len(left_out) > MAX_NAMED else ""
    noun = "class" if len(left_out) == 1 else "classes"
    return (f"And {len(left_out):,} more {noun} with lower scores: {named}{more}.",)
