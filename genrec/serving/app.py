"""The HTTP interface: what may be asked, and how it is answered."""

import base64
import hashlib
import importlib.metadata
import re
from importlib import resources
from typing import Annotated

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr
from starlette.exceptions import HTTPException

from genrec.errors import UserError
from genrec.recommend.requests import Requests
from genrec.serving.batching import Busy
from genrec.serving.middleware import RequestMiddleware, refusal
from genrec.serving.service import Service

_LONGEST = 1500  # characters of a complaint

_Name = StrictStr | StrictInt  # ids that are numbers may stand among titles
_Second = Annotated[StrictInt, Field(ge=-(2**62), le=2**62)]


class RecommendRequest(BaseModel):
    """A history to go on from."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"history": [], "k": 10}}
    )

    history: list[_Name] = Field(
        description="Item ids or titles, oldest first. If empty, the most popular items stand in."
    )
    k: StrictInt = Field(10, description="Number of items to recommend, up to the beam width.")
    include_history: StrictBool = Field(False, description="Recommend items of the history again.")
    exclude: list[_Name] = Field([], description="Items that may not be recommended.")
    allow: list[_Name] | None = Field(
        None, description="The only items that may be recommended; null for all."
    )
    user_id: _Name | None = Field(
        None, description="Whose history it is; only a model with user tokens reads it."
    )
    timestamps: list[_Second] | None = Field(
        None,
        description="Seconds since 1970 of every item; only a model with time gaps reads them.",
    )
    why: StrictBool = Field(
        False, description="Say why each item is recommended; for bundles that rank by experts."
    )


class NamedItem(BaseModel):
    """An item of the catalogue."""

    item_id: str
    title: str


class Why(BaseModel):
    """Why an item is recommended."""

    contributions: dict[str, float] = Field(
        description="What each expert adds to the score; they add up to it."
    )
    words: str = Field(description="What speaks for the item, in short.")


class RecommendedItem(NamedItem):
    """An item, and why it stands where it does."""

    score: float = Field(description="Log-probability, or what the bundle ranks by.")
    codes: list[int] = Field(description="Its semantic ID; items alike share its beginning.")
    why: Why | None = Field(None, description="Only where the request asks for it.")


class RecommendResponse(BaseModel):
    """What is recommended, best first."""

    items: list[RecommendedItem]
    warnings: list[str] = Field(description="What the request could not have, and what it got.")
    bundle: str = Field(description="The checksum of the bundle that answered.")


class ItemsResponse(BaseModel):
    """Items that were found, those most met in the training first."""

    items: list[NamedItem]


class StateResponse(BaseModel):
    """The state of the server."""

    status: str
    bundle: str | None = Field(None, description="The checksum of the bundle that answers.")
    items: int | None = Field(None, description="Size of its catalogue.")
    beam: int | None = Field(None, description="The largest k.")
    compiling: bool | None = Field(None, description="Whether answers will be faster soon.")


class ErrorResponse(BaseModel):
    """Why there is no answer."""

    error: str


def create_app(service: Service) -> FastAPI:
    """The ASGI application over a service that somebody else starts and closes."""
    app = FastAPIOffline(
        title="genrec",
        version=importlib.metadata.version("genrec"),
        description="Recommends the items that are most probable to come next.",
        redoc_url=None,
    )
    options, most = service.options, service.options.max_history
    app.add_middleware(RequestMiddleware, options=options, metrics=service.metrics)

    @app.post(
        "/recommend",
        response_model=RecommendResponse,
        responses={
            400: {"model": ErrorResponse, "description": "The body is no JSON"},
            413: {"model": ErrorResponse, "description": "The body is too large"},
            422: {"model": ErrorResponse, "description": "The request makes no sense"},
            503: {
                "model": ErrorResponse,
                "description": "Too much to do, or not ready: try again soon",
            },
        },
    )
    async def recommend(request: RecommendRequest) -> Response:
        """The k items most probable to come next."""
        if len(request.history) > most:
            raise UserError(
                f"the history has {len(request.history):,} items; {most:,} are allowed: send the "
                f"last ones"
            )
        requests = Requests(
            None if request.user_id is None else [str(request.user_id)],
            [list(map(str, request.history))],
            None if request.timestamps is None else [request.timestamps],
            [list(map(str, request.exclude))] if request.exclude else None,
            None if request.allow is None else [list(map(str, request.allow))],
        )
        served, items, scores, notices, why = await service.recommend(
            requests, request.k, not request.include_history, request.why
        )
        described = served.describe(items, scores, why)
        return JSONResponse({"items": described, "warnings": notices, "bundle": served.checksum})

    @app.get("/items", response_model=ItemsResponse, responses={422: {"model": ErrorResponse}})
    async def items(
        q: Annotated[str, Query(max_length=200, description="The beginnings of some words.")],
        limit: Annotated[int, Query(ge=1, le=50)] = 10,
    ) -> Response:
        """Items by the beginnings of words of their ids and titles."""
        served = service.served
        if served.typeahead is None:
            raise Busy("the server is starting")
        ids, titles = served.bundle.item_ids, served.bundle.titles
        matches = [ids[item] for item in served.typeahead.find(q, limit)]
        return JSONResponse({"items": [{"item_id": id, "title": titles[id]} for id in matches]})

    @app.get("/health", response_model=StateResponse, response_model_exclude_none=True)
    async def health() -> Response:
        """Whether the server lives."""
        return JSONResponse({"status": "alive"})

    @app.get("/ready", response_model=StateResponse, responses={503: {"model": ErrorResponse}})
    async def ready() -> Response:
        """Whether it can recommend, and from which bundle."""
        if not service.ready:
            raise Busy("the server is starting")
        served = service.served
        return JSONResponse(
            {
                "status": "ready",
                "bundle": served.checksum,
                "items": len(served.bundle.item_ids),
                "beam": served.bundle.manifest["answers"]["beam"],
                "compiling": service.compiling,
            }
        )

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        text = generate_latest(service.metrics.registry)
        return Response(text, headers={"content-type": CONTENT_TYPE_LATEST})

    page, policy = _page()

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        return HTMLResponse(page, headers={"content-security-policy": policy})

    @app.exception_handler(UserError)
    async def unanswerable(_: Request, error: UserError) -> Response:
        return refusal(422, _one_line(str(error)))

    @app.exception_handler(Busy)
    async def busy(_: Request, error: Busy) -> Response:
        return refusal(503, str(error))

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> Response:
        answer = refusal(error.status_code, str(error.detail))
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            return refusal(400, "the body is no JSON")
        where = [str(part) for part in first["loc"] if part not in ("str", "int")]
        field, message = ".".join(where[1:]) or "the body", first["msg"]
        return refusal(422, _one_line(f"{field}: {message[:1].lower()}{message[1:]}"))

    return app


def _one_line(message: str) -> str:
    """One line that UTF-8 can write and that ends; names in requests may hold anything."""
    line = " ".join(message.encode(errors="replace").decode().split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def _page() -> tuple[str, str]:
    """The page, and the policy that lets it run its own script and style, and nothing else."""
    text = resources.files("genrec.serving").joinpath("page.html").read_text("utf-8")

    def allowed(tag: str) -> str:
        (inside,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        return f"{tag}-src 'sha256-{digest}'"

    rest = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; img-src data:"
    own = f"{allowed('script')}; {allowed('style')}; connect-src 'self'"
    return text, f"default-src 'none'; {own}; {rest}"
