"""What to do about an error, one sentence per code; codes nobody knows a remedy for are missing."""

FIXES = {
    "InvalidApiKey": "set DASHSCOPE_API_KEY or use --api-key-file; make a key with: kf2v keys create --account NAME",
    "AccessDenied": "ask the server's owner for a key with this right",
    "NetworkError": "is the server running? start one with: kf2v serve; other servers: --base-url",
    "ProxyError": "unset HTTP_PROXY and HTTPS_PROXY, or set NO_PROXY for this host",
    "Timeout": "the task goes on if it was accepted; see: kf2v tasks list",
    "UnexpectedAnswer": "the base URL should be that of a DashScope API and end in /api/v1",
    "Throttling": "wait a minute, or ask the server's owner for a higher limit",
    "InvalidURL": "the server must reach this address; the owner opens private hosts with KF2V_FETCH_ALLOW_HOSTS",
    "InvalidFile.Resolution": "both sides of a frame should have 360 to 2000 pixels",
    "InvalidFile.Size": "a frame should have at most 10 MB",
    "InvalidImage.FileFormat": "a frame should be JPEG, PNG without transparency, BMP or WEBP",
    "DataInspectionFailed": "change the prompt or the frames",
    "IPInfringementSuspect": "change the prompt or the frames",
    "RewriteFailed": "kf2v doctor asks the language model; KF2V_REWRITE_ON_FAILURE=keep goes on without it",
    "NotFound": "see: kf2v tasks list, kf2v keys list, kf2v workspaces list, kf2v webhooks list",
    "UnsupportedOperation": "a task that runs is ended by: kf2v tasks cancel --running; one that has ended stays so",
}


def fix_of(code: str) -> str:
    """The remedy for ``code``, else for its family (``InvalidURL.Timeout``: ``InvalidURL``), else nothing."""
    return FIXES.get(code) or FIXES.get(code.partition(".")[0], "")
