"""Every error of the science, as one tree. Place in the tree = who must act.

    PipelineError
    ├── InputError            the user's file
    │   ├── UnreadableVideo       unreadable_video
    │   ├── NoVideoStream         no_video_stream
    │   ├── EmptyVideo            empty_video
    │   ├── ContainerUnsupported  container_unsupported
    │   ├── CodecUnsupported      codec_unsupported
    │   ├── VideoTooLarge         too_large
    │   ├── VideoTooLong          too_long
    │   ├── DecodeTimeout         decode_timeout
    │   ├── TrainingDataInvalid   training_data_invalid
    │   └── EvaluationDataInvalid evaluation_data_invalid
    ├── WeightsError          the operator: a model or its weights
    │   ├── ModelUnknown          model_unknown
    │   ├── WeightsMissing        weights_missing
    │   ├── WeightsInvalid        weights_invalid
    │   └── RecipeMismatch        recipe_mismatch
    ├── ResourceError         the machine; retryable
    │   ├── OutOfMemory           out_of_memory
    │   ├── DiskFull              disk_full
    │   ├── DecoderCrashed        decoder_crashed
    │   └── DeviceUnavailable     device_unavailable
    ├── OptionInvalid         the request: option_invalid
    ├── EvidenceInvalid       the stored evidence of a result: evidence_invalid
    ├── ContractViolation     our bug: contract_violation
    └── Cancelled             control flow, never logged as an error: canceled

``code`` is stable and public; the message is one sentence that tells its reader what to do.
"""

from typing import ClassVar


class PipelineError(Exception):
    """Anything that ends a run; never raised itself."""

    code: ClassVar[str] = "pipeline_error"
    retryable: ClassVar[bool] = False


class InputError(PipelineError):
    """The user's file cannot be used; another file can."""

    code: ClassVar[str] = "input_error"


class UnreadableVideo(InputError):
    """The bytes are no video that can be decoded."""

    code: ClassVar[str] = "unreadable_video"


class NoVideoStream(InputError):
    """The file is a container without a video stream."""

    code: ClassVar[str] = "no_video_stream"


class EmptyVideo(InputError):
    """The file is empty, or its video stream holds no usable frame."""

    code: ClassVar[str] = "empty_video"


class ContainerUnsupported(InputError):
    """The container format is not on the allow-list."""

    code: ClassVar[str] = "container_unsupported"


class CodecUnsupported(InputError):
    """The video codec is not on the allow-list."""

    code: ClassVar[str] = "codec_unsupported"


class VideoTooLarge(InputError):
    """The frames, or the file, exceed a size limit."""

    code: ClassVar[str] = "too_large"


class VideoTooLong(InputError):
    """The video exceeds the duration or frame-count limit."""

    code: ClassVar[str] = "too_long"


class DecodeTimeout(InputError):
    """Decoding made no headway within its time limit."""

    code: ClassVar[str] = "decode_timeout"


class TrainingDataInvalid(InputError):
    """Tags or features given for training cannot be used."""

    code: ClassVar[str] = "training_data_invalid"


class EvaluationDataInvalid(InputError):
    """Predictions or ground truth given for an evaluation cannot be used."""

    code: ClassVar[str] = "evaluation_data_invalid"


class WeightsError(PipelineError):
    """A model or its weights cannot be used."""

    code: ClassVar[str] = "weights_error"


class ModelUnknown(WeightsError):
    """No model of that name and version is installed."""

    code: ClassVar[str] = "model_unknown"


class WeightsMissing(WeightsError):
    """The weights a model needs are not on this machine."""

    code: ClassVar[str] = "weights_missing"


class WeightsInvalid(WeightsError):
    """A weights file is corrupt, of another hash or of other shapes than its record says."""

    code: ClassVar[str] = "weights_invalid"


class RecipeMismatch(WeightsError):
    """Features were made by another recipe than the head was trained on."""

    code: ClassVar[str] = "recipe_mismatch"


class ResourceError(PipelineError):
    """The machine gave out; the same run may pass later."""

    code: ClassVar[str] = "resource_error"
    retryable: ClassVar[bool] = True


class OutOfMemory(ResourceError):
    """Memory of the machine or of the device ran out."""

    code: ClassVar[str] = "out_of_memory"


class DiskFull(ResourceError):
    """The disk ran out of space."""

    code: ClassVar[str] = "disk_full"


class DecoderCrashed(ResourceError):
    """The decoder process died from a signal."""

    code: ClassVar[str] = "decoder_crashed"


class DeviceUnavailable(ResourceError):
    """The device asked for is not on this machine."""

    code: ClassVar[str] = "device_unavailable"
    retryable: ClassVar[bool] = False


class OptionInvalid(PipelineError):
    """An option of a localization is unknown, out of its range or does not fit the model.

    Attributes:
        field: name of the option, as users write it.
    """

    code: ClassVar[str] = "option_invalid"

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


class EvidenceInvalid(PipelineError):
    """Stored evidence is damaged, or of a release that this one does not understand."""

    code: ClassVar[str] = "evidence_invalid"


class ContractViolation(PipelineError):
    """A caller broke a documented precondition: a bug of ours."""

    code: ClassVar[str] = "contract_violation"


class Cancelled(PipelineError):
    """The caller asked to stop."""

    code: ClassVar[str] = "canceled"
