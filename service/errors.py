"""Every error of the service, as one tree. Place in the tree = who must act.

    ServiceError
    ├── RequestError          the client: another request can pass
    │   ├── InvalidRequest        invalid_request
    │   │   └── InvalidOption         option_invalid
    │   ├── Unauthorized          unauthorized
    │   │   └── TokenExpired          token_expired
    │   ├── Forbidden             forbidden
    │   ├── HostRefused           host_not_allowed
    │   ├── OriginRefused         origin_not_allowed
    │   ├── NotFound              not_found
    │   │   ├── JobNotFound           job_not_found
    │   │   ├── VideoNotFound         video_not_found
    │   │   ├── UploadNotFound        upload_not_found
    │   │   ├── BatchNotFound         batch_not_found
    │   │   ├── WebhookNotFound       webhook_not_found
    │   │   ├── KeyNotFound           key_not_found
    │   │   ├── SearchNotFound        search_not_found
    │   │   └── ResultNotFound        result_not_found
    │   ├── MethodRefused         method_not_allowed
    │   ├── NotAcceptable         not_acceptable
    │   ├── InvalidTransition     invalid_transition
    │   ├── NameTaken             name_taken
    │   ├── ResultNotReady        result_not_ready
    │   ├── EvidenceMissing       evidence_missing
    │   ├── IdempotencyConflict   idempotency_conflict
    │   ├── UploadTooLarge        too_large
    │   ├── HeadTooLarge          head_too_large
    │   ├── MediaTypeUnsupported  media_type_unsupported
    │   ├── UnknownModel          model_unknown
    │   ├── UrlRefused            url_refused
    │   ├── PathRefused           path_refused
    │   ├── VideoInUse            video_in_use
    │   ├── RateLimited           rate_limited
    │   ├── JobQuotaExceeded      quota_jobs
    │   ├── UploadQuotaExceeded   quota_uploads
    │   ├── UploadTimeout         upload_timeout
    │   ├── EmptyUpload           empty_video
    │   ├── LengthRequired        length_required
    │   ├── UploadExpired         upload_expired
    │   ├── UploadLocked          upload_locked
    │   ├── OffsetConflict        offset_conflict
    │   ├── ChecksumMismatch      checksum_mismatch
    │   ├── ProtocolRefused       tus_version_unsupported
    │   ├── RangeRefused          range_not_satisfiable
    │   ├── VideoNotReady         video_not_ready
    │   ├── FileMissing           file_missing
    │   ├── FileChanged           file_changed
    │   ├── FileUnreadable        file_unreadable
    │   └── ArchiveRefused        archive_refused
    ├── UrlUnreachable        somebody else's server: url_unreachable
    ├── LeaseLost             a worker that was replaced: drop the work, lease_lost
    ├── ConfigurationError    the operator, before anything runs: invalid_configuration
    │   ├── SchemaNewer           schema_newer
    │   ├── SchemaOlder           schema_older
    │   ├── BackupDamaged         backup_damaged
    │   └── DataFolderBusy        data_folder_busy
    └── OutageError           the operator, or time: retryable
        ├── DatabaseUnavailable   database_unavailable
        ├── StorageFull           disk_full
        │   └── BytesQuotaExceeded    quota_bytes
        ├── StorageUnavailable    storage_unavailable
        └── InternalError         internal_error, a bug of ours

``code`` is stable and public, ``status`` is the HTTP status, and the message is one sentence
that tells its reader what to do.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar


class ServiceError(Exception):
    """Anything the service refuses or cannot do; never raised itself.

    Attributes:
        headers: that an HTTP answer must have beside the document.
    """

    code: ClassVar[str] = "service_error"
    title: ClassVar[str] = "The service failed"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    headers: Mapping[str, str] = MappingProxyType({})


class RequestError(ServiceError):
    """The request cannot be served as it stands."""

    code: ClassVar[str] = "request_error"
    title: ClassVar[str] = "The request was refused"
    status: ClassVar[int] = 400


class InvalidRequest(RequestError):
    """A parameter, field or body is not of the documented form."""

    code: ClassVar[str] = "invalid_request"
    title: ClassVar[str] = "The request is not valid"
    status: ClassVar[int] = 422


class Unauthorized(RequestError):
    """There is no API key with the request, or not one that holds."""

    code: ClassVar[str] = "unauthorized"
    title: ClassVar[str] = "An API key is needed"
    status: ClassVar[int] = 401
    # Source: RFC 9110, section 11.6.1: an answer 401 says how to authenticate.
    headers = MappingProxyType({"WWW-Authenticate": 'Bearer realm="kinetag"'})


class TokenExpired(Unauthorized):
    """The time of an embed token or ticket is over."""

    code: ClassVar[str] = "token_expired"
    title: ClassVar[str] = "The embed token has expired"


class Forbidden(RequestError):
    """The API key does not allow this."""

    code: ClassVar[str] = "forbidden"
    title: ClassVar[str] = "The API key does not allow this"
    status: ClassVar[int] = 403


class InvalidOption(InvalidRequest):
    """An option of a localization is out of its range or does not fit the model."""

    code: ClassVar[str] = "option_invalid"
    title: ClassVar[str] = "The option cannot be used"


class HostRefused(RequestError):
    """The Host header names no host this service answers for."""

    code: ClassVar[str] = "host_not_allowed"
    title: ClassVar[str] = "This host name is not allowed"
    status: ClassVar[int] = 421


class OriginRefused(RequestError):
    """A web page of another origin made the request."""

    code: ClassVar[str] = "origin_not_allowed"
    title: ClassVar[str] = "This origin is not allowed"
    status: ClassVar[int] = 403


class NotFound(RequestError):
    """There is nothing at this address."""

    code: ClassVar[str] = "not_found"
    title: ClassVar[str] = "Not found"
    status: ClassVar[int] = 404


class JobNotFound(NotFound):
    """No job has this id."""

    code: ClassVar[str] = "job_not_found"
    title: ClassVar[str] = "No such job"


class ResultNotFound(NotFound):
    """The job ended without this result, or it was removed."""

    code: ClassVar[str] = "result_not_found"
    title: ClassVar[str] = "No such result"


class VideoNotFound(NotFound):
    """No video has this id."""

    code: ClassVar[str] = "video_not_found"
    title: ClassVar[str] = "No such video"


class UploadNotFound(NotFound):
    """No upload has this id."""

    code: ClassVar[str] = "upload_not_found"
    title: ClassVar[str] = "No such upload"


class BatchNotFound(NotFound):
    """No batch has this id."""

    code: ClassVar[str] = "batch_not_found"
    title: ClassVar[str] = "No such batch"


class WebhookNotFound(NotFound):
    """No webhook or delivery has this id."""

    code: ClassVar[str] = "webhook_not_found"
    title: ClassVar[str] = "No such webhook"


class SearchNotFound(NotFound):
    """No saved search has this id."""

    code: ClassVar[str] = "search_not_found"
    title: ClassVar[str] = "No such search"


class NameTaken(RequestError):
    """Something else has this name already."""

    code: ClassVar[str] = "name_taken"
    title: ClassVar[str] = "The name is taken"
    status: ClassVar[int] = 409


class KeyNotFound(NotFound):
    """No API key has this id."""

    code: ClassVar[str] = "key_not_found"
    title: ClassVar[str] = "No such API key"


class MethodRefused(RequestError):
    """The address exists, but not for this method."""

    code: ClassVar[str] = "method_not_allowed"
    title: ClassVar[str] = "Method not allowed"
    status: ClassVar[int] = 405


class NotAcceptable(RequestError):
    """None of the formats the client accepts is offered."""

    code: ClassVar[str] = "not_acceptable"
    title: ClassVar[str] = "No acceptable format"
    status: ClassVar[int] = 406


class InvalidTransition(RequestError):
    """The job's state does not allow what was asked."""

    code: ClassVar[str] = "invalid_transition"
    title: ClassVar[str] = "The job's state does not allow this"
    status: ClassVar[int] = 409


class ResultNotReady(RequestError):
    """The job has not ended yet."""

    code: ClassVar[str] = "result_not_ready"
    title: ClassVar[str] = "The result is not ready"
    status: ClassVar[int] = 409


class EvidenceMissing(RequestError):
    """Nothing was kept, or nothing usable, from which segments could be made again."""

    code: ClassVar[str] = "evidence_missing"
    title: ClassVar[str] = "No evidence was kept"
    status: ClassVar[int] = 409


class IdempotencyConflict(RequestError):
    """The same Idempotency-Key came with another request."""

    code: ClassVar[str] = "idempotency_conflict"
    title: ClassVar[str] = "This Idempotency-Key was used for another request"
    status: ClassVar[int] = 409


class UploadTooLarge(RequestError):
    """The body exceeds a size limit."""

    code: ClassVar[str] = "too_large"
    title: ClassVar[str] = "The upload is too large"
    status: ClassVar[int] = 413


class HeadTooLarge(RequestError):
    """A request's line and headers exceed what is read of them."""

    code: ClassVar[str] = "head_too_large"
    title: ClassVar[str] = "The headers are too large; send fewer or shorter ones"
    status: ClassVar[int] = 431


class MediaTypeUnsupported(RequestError):
    """The body is of a media type this address does not take."""

    code: ClassVar[str] = "media_type_unsupported"
    title: ClassVar[str] = "Unsupported media type"
    status: ClassVar[int] = 415


class UnknownModel(RequestError):
    """No model of that name and version is installed."""

    code: ClassVar[str] = "model_unknown"
    title: ClassVar[str] = "No such model"
    status: ClassVar[int] = 422


class UrlRefused(RequestError):
    """The service does not contact this address, ever."""

    code: ClassVar[str] = "url_refused"
    title: ClassVar[str] = "This address is not contacted"
    status: ClassVar[int] = 422


class PathRefused(RequestError):
    """The path is not below a folder that this service may read."""

    code: ClassVar[str] = "path_refused"
    title: ClassVar[str] = "The path is refused"
    status: ClassVar[int] = 422


class VideoInUse(RequestError):
    """A job still works on the video."""

    code: ClassVar[str] = "video_in_use"
    title: ClassVar[str] = "The video is in use"
    status: ClassVar[int] = 409


class RateLimited(RequestError):
    """More requests came than the tenant may send."""

    code: ClassVar[str] = "rate_limited"
    title: ClassVar[str] = "Too many requests"
    status: ClassVar[int] = 429
    retryable: ClassVar[bool] = True


class JobQuotaExceeded(RequestError):
    """The tenant has as many unfinished jobs as it may."""

    code: ClassVar[str] = "quota_jobs"
    title: ClassVar[str] = "Too many unfinished jobs"
    status: ClassVar[int] = 429
    retryable: ClassVar[bool] = True


class UploadQuotaExceeded(RequestError):
    """The tenant sends as many uploads at once as it may."""

    code: ClassVar[str] = "quota_uploads"
    title: ClassVar[str] = "Too many uploads at once"
    status: ClassVar[int] = 429
    retryable: ClassVar[bool] = True


class UploadTimeout(RequestError):
    """The body stopped arriving."""

    code: ClassVar[str] = "upload_timeout"
    title: ClassVar[str] = "The upload stalled"
    status: ClassVar[int] = 408


class EmptyUpload(RequestError):
    """A file without bytes."""

    code: ClassVar[str] = "empty_video"
    title: ClassVar[str] = "The video is empty"
    status: ClassVar[int] = 422


class LengthRequired(RequestError):
    """An upload does not say how long it is going to be."""

    code: ClassVar[str] = "length_required"
    title: ClassVar[str] = "The length is missing"
    status: ClassVar[int] = 411


class UploadExpired(RequestError):
    """An upload was left unfinished for too long."""

    code: ClassVar[str] = "upload_expired"
    title: ClassVar[str] = "The upload has expired"
    status: ClassVar[int] = 410


class UploadLocked(RequestError):
    """Another request writes to the same upload."""

    code: ClassVar[str] = "upload_locked"
    title: ClassVar[str] = "The upload is in use"
    status: ClassVar[int] = 423
    retryable: ClassVar[bool] = True


class OffsetConflict(RequestError):
    """A chunk does not begin where the upload stands."""

    code: ClassVar[str] = "offset_conflict"
    title: ClassVar[str] = "The offset is another one"
    status: ClassVar[int] = 409


class ChecksumMismatch(RequestError):
    """A chunk does not hash to what its header says."""

    code: ClassVar[str] = "checksum_mismatch"
    title: ClassVar[str] = "The checksum does not match"
    status: ClassVar[int] = 460


class ProtocolRefused(RequestError):
    """The client speaks another version of the tus protocol, or none."""

    code: ClassVar[str] = "tus_version_unsupported"
    title: ClassVar[str] = "Unsupported version of tus"
    status: ClassVar[int] = 412


class VideoNotReady(RequestError):
    """The video's bytes are not here yet, or never will be."""

    code: ClassVar[str] = "video_not_ready"
    title: ClassVar[str] = "The video is not ready"
    status: ClassVar[int] = 409


class RangeRefused(RequestError):
    """No byte of the range asked for exists."""

    code: ClassVar[str] = "range_not_satisfiable"
    title: ClassVar[str] = "No such range"
    status: ClassVar[int] = 416


class UrlUnreachable(ServiceError):
    """Another server did not answer, or not with what was asked for.

    Attributes:
        passing: whether the same request may pass a little later.
    """

    code: ClassVar[str] = "url_unreachable"
    title: ClassVar[str] = "The address cannot be reached"
    status: ClassVar[int] = 502
    retryable: ClassVar[bool] = True

    def __init__(self, message: str, *, passing: bool = False) -> None:
        super().__init__(message)
        self.passing = passing


class FileMissing(RequestError):
    """A file that was to be read is not there any more."""

    code: ClassVar[str] = "file_missing"
    title: ClassVar[str] = "The file is gone"
    status: ClassVar[int] = 404


class FileChanged(RequestError):
    """A file changed while it was read; what was made of it is dropped."""

    code: ClassVar[str] = "file_changed"
    title: ClassVar[str] = "The file changed"
    status: ClassVar[int] = 409
    retryable: ClassVar[bool] = True


class FileUnreadable(RequestError):
    """The file system does not give a file out, or does not take its result."""

    code: ClassVar[str] = "file_unreadable"
    title: ClassVar[str] = "The file cannot be accessed"
    status: ClassVar[int] = 422
    retryable: ClassVar[bool] = True


class ArchiveRefused(RequestError):
    """An archive, or one of its members, is damaged or over a limit."""

    code: ClassVar[str] = "archive_refused"
    title: ClassVar[str] = "The archive cannot be used"
    status: ClassVar[int] = 422


class LeaseLost(ServiceError):
    """The task is leased to somebody else, or has ended; whatever was computed is dropped."""

    code: ClassVar[str] = "lease_lost"
    title: ClassVar[str] = "The lease was lost"
    status: ClassVar[int] = 409


class ConfigurationError(ServiceError):
    """The settings cannot be used as they stand."""

    code: ClassVar[str] = "invalid_configuration"
    title: ClassVar[str] = "The configuration cannot be used"


class SchemaNewer(ConfigurationError):
    """A newer Kinetag has made the database."""

    code: ClassVar[str] = "schema_newer"
    title: ClassVar[str] = "The database is of a newer version"


class SchemaOlder(ConfigurationError):
    """The database has to be upgraded first."""

    code: ClassVar[str] = "schema_older"
    title: ClassVar[str] = "The database is of an older version"


class BackupDamaged(ConfigurationError):
    """What is to be restored is not what was backed up."""

    code: ClassVar[str] = "backup_damaged"
    title: ClassVar[str] = "The backup is damaged"


class DataFolderBusy(ConfigurationError):
    """A running service uses the data folder."""

    code: ClassVar[str] = "data_folder_busy"
    title: ClassVar[str] = "The data folder is in use"


class OutageError(ServiceError):
    """Something the service stands on gave out; the same request may pass later."""

    code: ClassVar[str] = "outage"
    title: ClassVar[str] = "The service is unavailable"
    status: ClassVar[int] = 503
    retryable: ClassVar[bool] = True


class DatabaseUnavailable(OutageError):
    """The database did not answer."""

    code: ClassVar[str] = "database_unavailable"
    title: ClassVar[str] = "The database is unavailable"


class StorageFull(OutageError):
    """Free disk space is below the floor."""

    code: ClassVar[str] = "disk_full"
    title: ClassVar[str] = "Not enough free disk space"
    status: ClassVar[int] = 507


class BytesQuotaExceeded(StorageFull):
    """The tenant stores as many bytes as it may."""

    code: ClassVar[str] = "quota_bytes"
    title: ClassVar[str] = "The storage quota is used up"
    status: ClassVar[int] = 507
    retryable: ClassVar[bool] = False


class StorageUnavailable(OutageError):
    """The blob storage did not do what was asked."""

    code: ClassVar[str] = "storage_unavailable"
    title: ClassVar[str] = "The storage is unavailable"


class InternalError(OutageError):
    """A bug of ours."""

    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Internal error"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
