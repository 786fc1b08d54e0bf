"""The table of what processes count. Shape, no behaviour."""

from sqlalchemy import Float, String
from sqlalchemy.orm import Mapped, mapped_column

from service.jobs.records import NAME_LENGTH, BigId, Record

COUNTER_LENGTH = 64


class CountRecord(Record):
    """An amount by which a counter grew.

    Rows are only ever added, so that no two transactions wait for each other, and are summed up
    into fewer rows now and then.

    Attributes:
        labels: ``name=value`` pairs in order of their names, separated by commas.
    """

    __tablename__ = "counts"

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    counter: Mapped[str] = mapped_column(String(COUNTER_LENGTH))
    labels: Mapped[str] = mapped_column(String(NAME_LENGTH))
    amount: Mapped[float] = mapped_column(Float)
