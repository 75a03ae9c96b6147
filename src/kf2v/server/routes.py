"""Every path this server has."""

from collections.abc import Iterable

from kf2v.server.operations import Operations
from kf2v.server.routing import Route, Routes
from kf2v.server.v1 import uploads
from kf2v.server.v1.create import Create
from kf2v.server.v1.files import Files
from kf2v.server.v1.models import Models
from kf2v.server.v1.tasks import Tasks
from kf2v.server.v1.tokens import Tokens
from kf2v.server.v1.uploads import Uploads

API = "/api/v1"
#: kf2v's own surface; handlers in ``server.ext`` bring their routes along
EXT = "/kf2v/v1"


def table(
    *,
    create: Create,
    tasks: Tasks,
    uploads_: Uploads,
    files: Files,
    models: Models,
    tokens: Tokens,
    operations: Operations,
    ext: Iterable[Route] = (),
) -> Routes:
    """The routes. The second create path is where other gateways and the SDKs' 2.x client post kf2v models; GET on
    cancel is what the Aio classes of SDK 1.24.10 to 1.25.20 send."""
    return Routes(
        [
            Route("POST", f"{API}/services/aigc/image2video/video-synthesis", create),
            Route("POST", f"{API}/services/aigc/video-generation/video-synthesis", create),
            Route("GET", f"{API}/tasks/{{task_id}}", tasks.query),
            Route("GET", f"{API}/tasks", tasks.find),
            Route("POST", f"{API}/tasks/{{task_id}}/cancel", tasks.cancel),
            Route("GET", f"{API}/tasks/{{task_id}}/cancel", tasks.cancel, acts=True),
            Route("GET", f"{API}/uploads", uploads_.policy),
            Route("POST", uploads.PATH, uploads_.post),
            Route("GET", f"{API}/models", models),
            Route("POST", f"{API}/tokens", tokens),
            Route("GET", f"{API}/models/limits", models.limits),
            Route("GET", "/results/{name}", files.download),
            Route("GET", "/healthz", operations.healthz),
            Route("GET", "/readyz", operations.readyz),
            Route("GET", "/metrics", operations.metrics),
            Route("GET", "/openapi.json", operations.openapi),
            *ext,
        ]
    )
