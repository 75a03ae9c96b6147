"""HTTP/1.1 as this server reads it. What cannot be read as HTTP never reaches the application, and is refused here
in the same shape as everything else."""

import uuid

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from kf2v.errors import InvalidParameter
from kf2v.server.exchange import JSON, refusal


class Unreadable(InvalidParameter):
    """Bytes that are no HTTP/1.1 request, or one with a method that HTTP does not know."""

    sentence = "The request could not be read as HTTP/1.1: its method, path or headers are malformed."


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, with JSON instead of text in its one own answer."""

    def send_400_response(self, msg: str) -> None:
        """Refuse what was read so far and hang up."""
        del msg
        request_id = str(uuid.uuid4())
        body = refusal(Unreadable(), request_id).body
        head = (
            b"HTTP/1.1 400 Bad Request",
            b"content-type: " + JSON,
            b"content-length: " + str(len(body)).encode(),
            b"connection: close",
            b"x-request-id: " + request_id.encode(),
        )
        self.transport.write(b"\r\n".join((*head, b"", body)))
        self.transport.close()
