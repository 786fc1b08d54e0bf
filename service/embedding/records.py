"""The table of secrets that this deployment signs with."""

from datetime import datetime

from sqlalchemy import CheckConstraint, String
from sqlalchemy.orm import Mapped, mapped_column

from service.jobs.records import Record

PURPOSE_LENGTH = 32
SECRET_CHARACTERS = 64


class SigningKeyRecord(Record):
    """A secret; the service has to know it, so it is not hashed.

    Attributes:
        purpose: what is signed with it; there is one secret for each.
        secret: 32 random bytes in hexadecimal digits.
    """

    __tablename__ = "signing_keys"
    __table_args__ = (CheckConstraint(f"length(secret) = {SECRET_CHARACTERS}", name="secret"),)

    purpose: Mapped[str] = mapped_column(String(PURPOSE_LENGTH), primary_key=True)
    secret: Mapped[str] = mapped_column(String(SECRET_CHARACTERS))
    created_at: Mapped[datetime]
