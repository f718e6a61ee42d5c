"""Pictures of images, small."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from nbclip.errors import NotFound
from nbclip.ids import check_image_id

from kg_service.api.dependencies import WiringOf, working
from kg_service.api.problems import KEYED, described
from kg_service.api.routes.images import ImageIdPath, unknown_image
from kg_service.web.thumbnails import MEDIA_TYPE, SUFFIXES, image_file, thumbnail

router = APIRouter(prefix="/images", tags=["images"])
"""To be included before the images' own router, as that of neighbours."""

_PICTURE = {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary", "description": "a JPEG"}}}


@router.get(
    "/{image_id:path}/thumbnail",
    response_class=Response,
    responses={200: {"content": _PICTURE}, 304: {"description": "Not Modified"}, **described(*KEYED, 404, 422)},
    dependencies=working("read"),
)
def get_thumbnail(
    request: Request,
    wiring: WiringOf,
    image_id: ImageIdPath,
    side: Annotated[int, Query(ge=16, le=1_024, description="maximum width and height in pixels")] = 256,
    if_none_match: Annotated[str, Header()] = "",
) -> Response:
    """A small picture of an image of the graph, from the folder `KG_IMAGES`.

    Its file is found by the image's id, which is its path in the folder, with or without a suffix such as `.jpg`.
    """
    folder = wiring.settings.images
    if folder is None:
        raise NotFound("this service has no pictures", hint="KG_IMAGES names their folder")
    with request.app.state.graph_places.take():
        known = wiring.store.image(check_image_id(image_id))
    if known is None:
        raise unknown_image(image_id)
    path = image_file(folder, image_id)
    if path is None:
        raise NotFound(
            f"no picture of {image_id!r:.200}", hint=f"KG_IMAGES needs a file of this name, with one of {', '.join(SUFFIXES)}"
        )
    status = path.stat()
    headers = {
        "ETag": f'"{status.st_mtime_ns:x}-{status.st_size:x}-{side}"',
        "Cache-Control": "private, max-age=3600",
        "X-Content-Type-Options": "nosniff",
    }
    if headers["ETag"] in if_none_match:
        return Response(status_code=304, headers=headers)
    return Response(thumbnail(path, side), headers=headers, media_type=MEDIA_TYPE)
