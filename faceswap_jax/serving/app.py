"""The routes of the server: pictures at once, clips as jobs, and what there is."""

import logging
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import fields
from importlib.metadata import version
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, File, Form, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from pydantic import BaseModel, Field

from faceswap_jax.serving import protocol
from faceswap_jax.serving.door import Door
from faceswap_jax.serving.jobs import Job, State
from faceswap_jax.serving.orders import Choices
from faceswap_jax.serving.page import page
from faceswap_jax.serving.refusal import BUSY, TOO_LARGE, TOO_SLOW, UNUSABLE, Refusal
from faceswap_jax.serving.service import Sent, Service

MOST_PICTURES = 16
"""Of a person to show."""

MEDIA = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".webp": "image/webp",
    ".bmp": "image/bmp",
    ".mp4": "video/mp4",
    ".mov": "video/quicktime",
    ".mkv": "video/matroska",
}

logger = logging.getLogger(__name__)


class ModelTold(BaseModel):
    """A model that is served."""

    name: str
    version: str = Field(description="Digest of its weights.")
    placement: str = Field(description="'blended' into the performer's frame, or 'whole' images.")
    resolution: int = Field(description="Side of its faces, pixels.")
    personas: list[str] = Field(description="Whom it knows by name.")


class JobTold(BaseModel):
    """A clip on its way."""

    id: str
    state: State
    progress: float = Field(description="From 0 to 1.")
    problem: str = Field(description="Why it failed.")
    expires_in: float | None = Field(description="Seconds for which it is still known.")


class _Form(Request):
    """A form of few, small fields."""

    def form(self, **limits):
        """As the framework's, with limits."""
        return super().form(max_files=MOST_PICTURES + 2, max_fields=8, max_part_size=4096)


class _FormRoute(APIRoute):
    """Reads forms with limits."""

    def get_route_handler(self):
        """As the framework's, for such forms."""
        handle = super().get_route_handler()

        async def limited(request: Request) -> Response:
            return await handle(_Form(request.scope, request.receive))

        return limited


router = APIRouter(route_class=_FormRoute)


def _service(request: Request) -> Service:
    return request.app.state.service


def _owner(request: Request) -> str:
    return request.state.owner


def _choices(
    persona: Annotated[
        str | None, Form(description="Whom to show, or a mix: ada:0.7,ben:0.3")
    ] = None,
    face: Annotated[
        int | None, Form(description="Number of the person who is replaced", ge=0)
    ] = None,
    blend: Annotated[str | None, Form(description="multiband, poisson or none")] = None,
    outline: Annotated[str | None, Form(description="hull, inner, forehead or wide")] = None,
    restore_mouth: Annotated[
        bool, Form(description="Whole images: an open mouth has the performer's inside")
    ] = False,
) -> Choices:
    return Choices(persona, face, blend, outline, restore_mouth)


def _fields(source: str) -> Callable[[Request], Awaitable[None]]:
    """A check that a form has no other fields than those of a route, each once.

    Args:
        source: the field of the picture or clip.
    """
    known = {source, "pictures", "landmarks", *(field.name for field in fields(Choices))}

    async def check(request: Request) -> None:
        form = await request.form()
        for name in form:
            if name not in known:
                raise Refusal(
                    UNUSABLE,
                    f"There is no field '{name[:100]}'; there are {', '.join(sorted(known))}.",
                )
            if name != "pictures" and len(form.getlist(name)) > 1:
                raise Refusal(UNUSABLE, f"The field '{name}' comes more than once; send it once.")

    return check


ServiceOf = Annotated[Service, Depends(_service)]
OwnerOf = Annotated[str, Depends(_owner)]
ChoicesOf = Annotated[Choices, Depends(_choices)]
Pictures = Annotated[
    list[UploadFile], File(description="In place of a persona: pictures of the person to show")
]
Landmarks = Annotated[
    UploadFile | None, File(description="CSV of landmarks that were tracked elsewhere")
]


@router.get("/live", tags=["state"])
async def live() -> str:
    """Whether the server runs."""
    return "live"


@router.get("/ready", tags=["state"])
async def ready(service: ServiceOf) -> str:
    """Whether it takes requests: 503 while it drains."""
    if service.draining:
        raise Refusal(BUSY, "The server is about to stop.")
    return "ready"


@router.get("/models", tags=["models"])
async def models(service: ServiceOf) -> list[ModelTold]:
    """What is served."""
    return [
        ModelTold(
            name=model.name,
            version=model.generator.version,
            placement=model.generator.placement,
            resolution=model.generator.resolution,
            personas=list(model.generator.personas),
        )
        for model in service.models
    ]


@router.post(
    "/models/{model}/pictures",
    tags=["models"],
    response_class=Response,
    dependencies=[Depends(_fields("picture"))],
)
async def picture(
    model: str,
    service: ServiceOf,
    owner: OwnerOf,
    choices: ChoicesOf,
    picture: Annotated[UploadFile, File(description="PNG, JPEG, WebP or BMP of the performer")],
    pictures: Pictures = (),
    landmarks: Landmarks = None,
) -> Response:
    """The swapped or reenacted picture, of the kind that was sent."""
    sent = _sent(picture, pictures, landmarks)
    result = await service.picture(owner, model, sent, choices)
    content = result.read_bytes()
    shutil.rmtree(result.parent, ignore_errors=True)
    return Response(content, media_type=MEDIA[result.suffix])


@router.post(
    "/models/{model}/clips",
    tags=["models"],
    status_code=202,
    dependencies=[Depends(_fields("clip"))],
)
async def clip(
    model: str,
    service: ServiceOf,
    owner: OwnerOf,
    choices: ChoicesOf,
    response: Response,
    clip: Annotated[UploadFile, File(description="MP4, QuickTime, Matroska, WebM or AVI")],
    pictures: Pictures = (),
    landmarks: Landmarks = None,
) -> JobTold:
    """A job that swaps or reenacts the clip; its address is in the header Location."""
    job = await service.clip(owner, model, _sent(clip, pictures, landmarks), choices)
    response.headers["Location"] = f"/jobs/{job.id}"
    return _told(service, job)


@router.get("/jobs/{job}", tags=["jobs"])
async def job(job: str, service: ServiceOf, owner: OwnerOf) -> JobTold:
    """How far a job is."""
    return _told(service, service.jobs.of(owner, job))


@router.get("/jobs/{job}/result", tags=["jobs"], response_class=FileResponse)
async def result(job: str, service: ServiceOf, owner: OwnerOf) -> FileResponse:
    """The clip that a job has made; 409 before that."""
    output = service.jobs.result(owner, job).output
    return FileResponse(output, media_type=MEDIA[output.suffix], filename=output.name)


@router.delete("/jobs/{job}", tags=["jobs"], status_code=204)
async def cancel(job: str, service: ServiceOf, owner: OwnerOf) -> None:
    """Stops a job; one that has ended is forgotten, with its result."""
    service.jobs.cancel(owner, job)


@router.get("/metrics", tags=["state"], response_class=PlainTextResponse)
async def metrics(service: ServiceOf) -> Response:
    """Numbers for Prometheus."""
    return Response(service.metrics.text(), media_type=CONTENT_TYPE_PLAIN_0_0_4)


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> HTMLResponse:
    """What can be asked, for people."""
    return HTMLResponse(page(request.app.openapi()))


def build(service: Service) -> FastAPI:
    """The application of a service, which it closes at its end."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(
        title="faceswap",
        version=version("faceswap-jax"),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.service = service
    app.include_router(router)
    app.include_router(protocol.router)
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _failed)
    app.add_middleware(Door, service=service)
    return app


def _sent(source: UploadFile, pictures: list[UploadFile], landmarks: UploadFile | None) -> Sent:
    return Sent(source.file, [p.file for p in pictures], landmarks.file if landmarks else None)


def _told(service: Service, job: Job) -> JobTold:
    progress = 1.0 if job.state is State.DONE else job.watch.progress
    return JobTold(
        id=job.id,
        state=job.state,
        progress=progress,
        problem=job.problem,
        expires_in=service.jobs.expires_in(job),
    )


async def _refused(request: Request, refusal: Refusal) -> JSONResponse:
    """One sentence. What was not read to its end is not read on."""
    closes = refusal.status_code in (TOO_LARGE, TOO_SLOW)
    return refusal.response(request.url.path, closes)


async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
    """The first field that is wrong, in one sentence."""
    first = error.errors()[0]
    return JSONResponse({"detail": f"{first['loc'][-1]}: {first['msg']}."}, UNUSABLE)


async def _failed(request: Request, error: Exception) -> JSONResponse:
    """Nothing of what went wrong, which the log tells."""
    return JSONResponse({"detail": "The server failed at this; its log tells why."}, 500)
