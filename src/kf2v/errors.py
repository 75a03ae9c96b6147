"""What can go wrong, in the API's own words: each class is a code, an HTTP status and a sentence.

An error is raised where it is known, translated at a seam with ``from`` kept, and caught in three places:
the route (an HTTP answer), the worker's loop (a FAILED task) and the CLI (an exit code).

::

    ApiError
     ├─ NoApiKey, InvalidApiKey, WorkspaceDenied  401  who are you
     ├─ AccessDenied                              403  not like this
     │   ├─ SynchronousCall, PolicyExpired, LinkRefused, ScopeMissing, ModelAccessDenied
     ├─ DataInspectionFailed                      400  not these contents (at submission, or inside a task)
     │   ├─ IPInfringementSuspect
     ├─ Throttled                                 429  not so much
     │   ├─ RateExceeded, QuotaExceeded
     ├─ InvalidParameter                          400  not with these values
     │   ├─ BodyInvalid, ModelNotExist, InvalidMediaUrl
     ├─ UnsupportedOperation                      400  not in this state
     ├─ NotFound 404, MethodNotAllowed 405, FileAlreadyExists 409, IdempotencyConflict 409, PayloadTooLarge 413
     ├─ FrameError                                     the picture cannot be had or used (inside a task)
     │   ├─ InvalidUrl, ConnectionRefused, DownloadTimeout
     │   └─ InvalidImageFormat, InvalidFileSize, InvalidResolution
     ├─ InternalError                             500  our own fault
     │   ├─ AlgorithmError, TaskTimeout, ResultUploadError, RewriteFailed
     │   │   ├─ OutOfOrder
     └─ Unavailable                               503  not now

    Canceled                                           not an error of anyone: the work was called off
    ProcessRuined                                      nothing can be made in this process any more
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import ClassVar


class ApiError(Exception):
    """An answer other than success. ``message`` may say more than the class's own ``sentence``.

    Codes and sentences are the vendor's, typing slips included; where the vendor publishes none, the
    sentence is ours and says what came and what would have done.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "InternalError"
    sentence: ClassVar[str] = "An internal error has occured, please try again later or contact service support."

    def __init__(self, message: str | None = None) -> None:
        self.message = message or self.sentence
        super().__init__(self.message)


class NoApiKey(ApiError):
    """No Authorization header, or one without a key."""

    status, code, sentence = 401, "InvalidApiKey", "No API-key provided."


class InvalidApiKey(ApiError):
    """A key nobody here knows."""

    status, code, sentence = 401, "InvalidApiKey", "Invalid API-key provided."


class AccessDenied(ApiError):
    """Known, but not allowed."""

    status, code, sentence = 403, "AccessDenied", "Access denied."


class SynchronousCall(AccessDenied):
    """``X-DashScope-Async: enable`` is missing."""

    sentence = "current user api does not support synchronous calls."


class ScopeMissing(AccessDenied):
    """A key that was not made for this; the message names the scope that would do."""


class ModelAccessDenied(AccessDenied):
    """A model that this key or workspace may not ask for."""

    code, sentence = "Model.AccessDenied", "Model access denied."


class PolicyExpired(AccessDenied):
    """An upload policy past its time."""

    sentence = "Invalid according to Policy: Policy expired."


class PolicyInvalid(AccessDenied):
    """An upload that its policy does not cover, or a policy we never signed."""

    sentence = "Invalid according to Policy: the signature does not match."


class LinkRefused(AccessDenied):
    """A file link that is forged, altered or past its time."""

    sentence = "The link is invalid or has expired."


class WorkspaceDenied(ApiError):
    """A workspace that is not there, or not this key's."""

    status, code = 401, "NOT AUTHORIZED"
    sentence = (
        "Access denied: Either you are not authorized to access this workspace, or the workspace does not exist. "
        "Please:\nVerify the workspace configuration.\nCheck your API endpoint settings. Ensure you are targeting the "
        "correct environment."
    )


class DataInspectionFailed(ApiError):
    """Contents that moderation does not let pass."""

    status, code = 400, "DataInspectionFailed"
    sentence = "Input or output data may contain inappropriate content."


class IPInfringementSuspect(DataInspectionFailed):
    """Contents that somebody else seems to have rights to."""

    code, sentence = "IPInfringementSuspect", "Input data is suspected of being involved in IP infringement."


class Throttled(ApiError):
    """More than an account may have; ``retry_after`` is in how many seconds to come again, None where nobody knows."""

    status, code, sentence = 429, "Throttling", "Requests throttling triggered."

    def __init__(self, message: str | None = None, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RateExceeded(Throttled):
    """Too many calls in too short a time."""

    code, sentence = "Throttling.RateQuota", "Requests rate limit exceeded, please try again later."


class QuotaExceeded(Throttled):
    """As much waits, or was spent, as may."""

    code = "Throttling.AllocationQuota"
    sentence = "Allocated quota exceeded, please increase your quota limit."


class InvalidParameter(ApiError):
    """A value that cannot be used; the message names the field, what came and what is allowed.

    ``field`` is that field for programs, as ``parameters.seed``; empty where it is the whole request.
    """

    status, code = 400, "InvalidParameter"
    sentence = (
        "The request is missing required parameters or in a wrong format, please check the parameters that you send."
    )

    def __init__(self, message: str | None = None, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class BodyInvalid(InvalidParameter):
    """Not JSON, not UTF-8, or not an object."""

    sentence = "Required body invalid, please check the request body format."


class ModelNotExist(InvalidParameter):
    """A model name nobody here serves."""

    sentence = "Model not exist."


class InvalidMediaUrl(InvalidParameter):
    """A frame given as something that is no usable URL."""

    sentence = "The provided URL does not appear to be valid. Ensure it is correctly formatted."


class UnsupportedOperation(ApiError):
    """Cancelling what is no longer waiting."""

    status, code = 400, "UnsupportedOperation"
    sentence = "Failed to cancel the task, please confirm if the task is in PENDING status."


class NotFound(ApiError):
    """No such path or object."""

    status, code, sentence = 404, "NotFound", "Not found!"


class MethodNotAllowed(ApiError):
    """A path we serve, asked with a method it does not have."""

    status, code, sentence = 405, "InvalidParameter", "Request method is not supported."


class FileAlreadyExists(ApiError):
    """An upload to a key that is taken: overwriting would silently swap a picture."""

    status, code = 409, "FileAlreadyExists"
    sentence = "The object you specified already exists and can not be overwritten."


class IdempotencyConflict(ApiError):
    """An ``Idempotency-Key`` that stood for another submission before. The vendor has none, so the words are ours."""

    status, code = 409, "IdempotencyConflict"
    sentence = "This Idempotency-Key was used with another request in the last 24 hours."


class PayloadTooLarge(ApiError):
    """A body beyond what this endpoint reads."""

    status, code, sentence = 413, "BadRequest.TooLarge", "Payload Too Large."


class FrameError(ApiError):
    """A picture that cannot be had or cannot be used; fails the task that names it."""

    status = 400


@contextmanager
def about_frame(field: str) -> Generator[None]:
    """Frame errors from inside say which frame they are about."""
    try:
        yield
    except FrameError as error:
        raise type(error)(f"{error.message} ({field})") from error


class InvalidUrl(FrameError):
    """The address answers, but not with a picture; or it may not be asked at all."""

    code = "InvalidURL"
    sentence = "Failed to download the image, url error, please check url!"


class ConnectionRefused(FrameError):
    """Nobody listens there."""

    code = "InvalidURL.ConnectionRefused"
    sentence = "Connection to the image's host refused, please provide available URL."


class DownloadTimeout(FrameError):
    """It takes longer than we wait."""

    code = "InvalidURL.Timeout"
    sentence = "Download of the image timeout, please check network connection."


class InvalidImageFormat(FrameError):
    """Bytes that are no picture of an accepted kind."""

    code = "InvalidImage.FileFormat"
    sentence = "Invalid image type. Please ensure the uploaded file is a valid image."


class InvalidFileSize(FrameError):
    """More bytes than a frame may have."""

    code = "InvalidFile.Size"
    sentence = "Invalid file size. The image file size must be less than 10MB."


class InvalidResolution(FrameError):
    """A side shorter or longer than a frame may have."""

    code = "InvalidFile.Resolution"
    sentence = (
        "The image resolution is invalid, please make sure that the largest length of image is smaller "
        "than 2000, and the smallest length of image is larger than 360."
    )


class InternalError(ApiError):
    """Our own fault, told without its insides."""


class AlgorithmError(InternalError):
    """An engine that failed, or that crashed its worker as often as a task may."""

    code = "InternalError.Algo"
    sentence = "An internal error has occured during algorithm execution."


class OutOfOrder(AlgorithmError):
    """An engine that cannot make this one and has not begun it, so that another may; where there is none, it fails.

    ``reason`` is for the owner, not for the caller.
    """

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


class TaskTimeout(InternalError):
    """A task that gave no result in its time."""

    code = "InternalError.Timeout"
    sentence = (
        "An internal timeout error has occured during execution, please try again later or contact service support."
    )


class ResultUploadError(InternalError):
    """The video is made but cannot be kept."""

    code, sentence = "InternalError.Upload", "Failed to upload result."


class RewriteFailed(InternalError):
    """The prompt could not be rewritten, and the owner asked to fail then."""

    code, sentence = "RewriteFailed", "Failed to rewrite content for prompt."


class Unavailable(ApiError):
    """Not now: draining, or no room on the disk."""

    status, code = 503, "ModelUnavailable"
    sentence = "Model is unavailable, please try again later."


class ProcessRuined(Exception):
    """Nothing can be made in this process any more, as after a GPU's fault: only another one can go on.

    A worker that may end does, without settling: its task is another attempt's.
    """


class Canceled(Exception):
    """The work was called off: its task is settled otherwise or its lease is gone."""
