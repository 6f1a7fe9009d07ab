"""Every bad request of the catalogue, put to a server process of its own: it refuses, and stays.

Each is answered with the status and code that the catalogue has for it. After each the process is
the same, and draws for whoever asks properly; at the end its log holds no traceback and no prompt.
"""

import base64
import json
import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image, ImageCms

from limner.images import encode_png
from tests.server.processes import DRAW, KEY, Running, running_server
from tests.server.servers import Answer, Client, form_of
from tests.test_bad_pictures import animated, header_of, one_wrong_byte, saved, with_text
from tests.waiting import PATIENCE, wait_until

EDIT, VARY = "/v1/images/edits", "/v1/images/variations"
MIB = 2**20
IDLE = int(os.environ.get("LIMNER_IDLE", "600"))  # connections that say nothing


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_server(tmp_path_factory.mktemp("bad")) as running:
        yield running


@pytest.fixture
def server(running: Running) -> Iterator[Running]:
    yield running
    assert running.process.poll() is None  # one process from the first row to the last
    assert running.client.draw().status == 200


def check(answer: Answer, status: int, code: str | None) -> None:
    """See that an answer has a status, and where it refuses the code."""
    assert answer.status == status, answer.body[:400]
    assert code is None or answer.error["code"] == code, answer.error


WRONG: tuple[Any, ...] = (5, True, [], {}, None)
TEXTS: tuple[tuple[str, dict[str, Any], int, str | None], ...] = (
    ("1", {"prompt": ""}, 400, "empty"),
    ("2", {"prompt": "  \t"}, 400, "empty"),
    ("2", {"prompt": "\u200b\u2060\ufeff"}, 400, "empty"),
    ("4", {"prompt": "x" * (MIB - 100)}, 400, "string_above_max_length"),
    ("5", {"prompt": "a" * 4000}, 200, None),
    ("5", {"prompt": "a" * 4001}, 400, "string_above_max_length"),
    ("7", {"prompt": "a\x00b"}, 400, "invalid_nul"),
    ("9", {"prompt": "\u202ea red apple\u2066\u2069"}, 200, None),
    ("10", {"prompt": "👨‍👩‍👧 🇨🇳 ❤️"}, 200, None),
    ("12", {"prompt": "a" + "\u0301" * 500}, 200, None),
    ("13", {"prompt": "\ufdfa" * 4000}, 400, "string_above_max_length"),
    *(("14", {"prompt": each}, 400, "invalid_type") for each in WRONG),
    *(("16", {"prompt": each}, 200, None) for each in ("<s>", "<|endoftext|>", "[MASK]")),
    ("17", {"prompt": "../../etc/passwd $(id) {{7*7}} %s%n\r\nX: y"}, 200, None),
    ("18", {"prompt": "画一个 red 苹果 𠮷"}, 200, None),
    ("102", {"prompt": "a", "model": "nosuch"}, 404, "model_not_found"),
    ("102", {"prompt": "a", "model": "../x"}, 404, "model_not_found"),
    *(
        ("103", {"prompt": "a", "n": each}, 400, None)
        for each in (0, -1, 11, 1000, 2**63, 1.5, "2", True)
    ),
    *(
        ("104", {"prompt": "a", "size": each}, 400, None)
        for each in ("0x0", "-1x5", "99999x99999", "1024X1024", "1024", 7)
    ),
    ("105", {"prompt": "a", "nosuch": {"deep": [1]}}, 200, None),
)


@pytest.mark.parametrize(("row", "fields", "status", "code"), TEXTS)
def test_bad_fields(
    server: Running, row: str, fields: dict[str, Any], status: int, code: str | None
) -> None:
    answer = server.client.post(DRAW, fields)
    check(answer, status, code)
    if status == 400:
        named = {"103": "n", "104": "size"}.get(row, "prompt")
        assert answer.error["param"] == named, (row, answer.error)


@pytest.mark.parametrize(
    ("row", "body", "code"),
    [
        ("3", b"{}", "missing_required_parameter"),
        ("11", b'{"prompt": "\\ud800"}', "invalid_unicode"),
        ("15", b'{"prompt": ' + b"[" * 10_000, "invalid_json"),
        ("15", b'{"prompt": "a", "prompt": "b"}', "invalid_json"),
        ("15", b'{"prompt": "a", "seed": NaN}', "invalid_json"),
        ("101", b'{"prompt": "a",}', "invalid_json"),
        ("101", b"\xef\xbb\xbf{}", "invalid_json"),
        ("101", b"", "invalid_json"),
        ("101", b"{prompt", "invalid_json"),
    ],
    ids=lambda each: str(each)[:30],
)
def test_bad_bodies(server: Running, row: str, body: bytes, code: str) -> None:
    check(server.client.post(DRAW, body), 400, code)


def test_texts_that_are_drawn_as_others_are(server: Running) -> None:
    # 6: a prompt that the model reads in part says so.
    codes = [each["code"] for each in server.client.draw(prompt="an apple " * 50).json["warnings"]]
    assert "prompt_truncated" in codes
    # 8: control characters change nothing.
    clean, other = (
        server.client.draw(prompt=each, seed=3, response_format="b64_json").json["data"]
        for each in ("a red apple", "a \x01red\x1b apple")
    )
    assert clean[0]["b64_json"] == other[0]["b64_json"]


def turned() -> bytes:
    """Return a JPEG of 32 x 24 pixels whose EXIF says that it stands on its side."""
    image = Image.new("RGB", (32, 24))
    exif = image.getexif()
    exif[0x0112] = 6
    return saved(image, "JPEG", exif=exif)


def many_scans(count: int, side: int = 64) -> bytes:
    """Return a progressive JPEG whose last scan comes again and again."""
    data = saved(Image.new("L", (side, side), 90), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + data[-2:]


WHOLE = saved(Image.effect_noise((64, 64), 50).convert("RGB"))
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
FLOATS = Image.fromarray(numpy.full((32, 32), numpy.nan, numpy.float32))
PICTURES: tuple[tuple[str, Callable[[], bytes], int, str | None], ...] = (
    ("21", lambda: b"", 400, "invalid_image"),
    ("22", lambda: WHOLE[: len(WHOLE) // 2], 400, "invalid_image"),
    ("23", one_wrong_byte, 400, "invalid_image"),
    ("24", lambda: header_of(50_000, 50_000), 400, "image_too_large"),
    ("25", lambda: saved(Image.new("1", (9450, 9450))), 400, "image_too_large"),
    ("26", lambda: header_of(30_000, 30_000), 400, "image_too_large"),
    ("27", lambda: with_text(1, 8 * MIB), 400, "invalid_image"),
    ("27", lambda: with_text(70, MIB), 400, "invalid_image"),
    ("28", lambda: animated("PNG"), 400, "animated_not_supported"),
    ("28", lambda: animated("WEBP"), 400, "animated_not_supported"),
    ("28", lambda: animated("GIF"), 400, "invalid_image"),
    ("29", lambda: saved(Image.new("CMYK", (32, 32)), "JPEG"), 200, None),
    ("30", lambda: saved(Image.new("I;16", (32, 32), 32768)), 200, None),
    ("31", turned, 200, None),
    *(
        ("32", lambda mode=each: saved(Image.new(mode, (32, 32))), 200, None)
        for each in ("P", "LA", "1", "RGBA")
    ),
    ("33", lambda: saved(Image.new("RGB", (32, 32)), icc_profile=PROFILE), 200, None),
    ("33", lambda: saved(Image.new("RGB", (32, 32)), icc_profile=b"broken"), 200, None),
    ("35", lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", 400, "invalid_image"),
    ("35", lambda: b"<html><script>alert(1)</script>", 400, "invalid_image"),
    *(
        ("36", lambda kind=each: saved(Image.new("RGB", (32, 32)), kind), 400, "invalid_image")
        for each in ("EPS", "PDF", "TIFF", "ICO", "AVIF")
    ),
    ("36", lambda: b"8BPS" + bytes(200), 400, "invalid_image"),
    ("36", lambda: b"SIMPLE  =" + bytes(3000), 400, "invalid_image"),
    ("37", lambda: WHOLE + b"PK\x03\x04tail", 200, None),
    *(
        ("38", lambda size=each: saved(Image.new("RGB", size)), 400, "image_too_small")
        for each in ((1, 1), (1, 8192), (8192, 1), (2, 2))
    ),
    ("38", lambda: header_of(0, 20), 400, "invalid_image"),
    ("39", lambda: saved(FLOATS, "TIFF"), 400, "invalid_image"),
    ("42", lambda: saved(Image.new("RGB", (32, 32)), "JPEG"), 200, None),  # sent as image/png
    ("44", lambda: many_scans(10_000), 400, "invalid_image"),
)


@pytest.mark.parametrize(("row", "make", "status", "code"), PICTURES)
def test_bad_pictures(
    server: Running, row: str, make: Callable[[], bytes], status: int, code: str | None
) -> None:
    answer = server.client.form(VARY, ("image", make()), ("response_format", "b64_json"))
    check(answer, status, code)
    assert b"script" not in answer.body and b"svg" not in answer.body
    if row == "37":
        assert b"tail" not in base64.b64decode(answer.json["data"][0]["b64_json"])


@pytest.mark.parametrize(
    ("row", "url", "status", "code"),
    [
        ("40", "data:text/html;base64,AAAA", 400, "invalid_image"),
        ("40", "data:image/png;base64,!!", 400, "invalid_image"),
        ("40", "data:image/png;base64," + "A" * 100 * MIB, 413, "file_too_large"),
        ("41", "http://169.254.169.254/latest", 400, "urls_not_supported"),
        ("41", "file:///etc/passwd", 400, "urls_not_supported"),
    ],
    ids=lambda each: str(each)[:30],
)
def test_bad_addresses(server: Running, row: str, url: str, status: int, code: str) -> None:
    body = json.dumps({"prompt": "an apple", "images": [{"image_url": url}]}).encode()
    if len(body) > 64 * MIB:  # it is refused by its length: nobody reads on
        found = server.raw(f"Content-Length: {len(body)}", path=EDIT)
        assert found.startswith(b"HTTP/1.1 413") and code.encode() in found
    else:
        check(server.client.post(EDIT, body), status, code)


def test_what_a_picture_says_of_a_person_is_not_sent_back(server: Running) -> None:  # 34
    image = Image.new("RGB", (32, 32))
    exif = image.getexif()
    exif[0x010E] = "a secret place"
    data = saved(image, "JPEG", exif=exif, xmp=b"<x>a secret place</x>")
    answer = server.client.form(VARY, ("image", data), ("response_format", "b64_json"))
    assert answer.status == 200
    assert b"secret" not in base64.b64decode(answer.json["data"][0]["b64_json"])


def masks() -> Iterator[tuple[str, list[tuple[str, str | bytes]], int, str]]:
    """Yield each row of masks: the parts of a form, the status, and what the answer says."""
    clear, full = (encode_png(Image.new("RGBA", (32, 32), (9, 9, 9, a))) for a in (0, 255))
    photo = Image.effect_noise((32, 32), 50).convert("RGB")
    png = encode_png(photo)
    hole = Image.new("RGBA", (32, 32), (9, 9, 9, 255))
    hole.putpixel((5, 5), (0, 0, 0, 0))
    soft = Image.new("RGBA", (32, 32), (9, 9, 9, 128))
    yield "43", [("image[]", png)] * 17, 400, "17 pictures"
    yield "45", [("image", png), ("mask", encode_png(Image.new("RGBA", (32, 48))))], 400, "32x48"
    yield "46", [("image", png), ("mask", encode_png(photo))], 400, "no alpha channel"
    yield "47", [("image", png), ("mask", full)], 200, "nothing"
    yield "48", [("image", png), ("mask", clear)], 200, ""
    yield "49", [("image", png), ("mask", encode_png(hole))], 200, ""
    yield "49", [("image", png), ("mask", encode_png(soft))], 200, ""
    yield "50", [("mask", clear)], 400, "no picture"
    yield "50", [("image", png), ("mask", clear), ("mask", clear)], 400, "2 masks"
    yield (
        "51",
        [("image", turned()), ("mask", encode_png(Image.new("RGBA", (32, 24))))],
        400,
        "EXIF",
    )


@pytest.mark.parametrize(("row", "parts", "status", "told"), [*masks()])
def test_bad_masks(
    server: Running, row: str, parts: list[tuple[str, str | bytes]], status: int, told: str
) -> None:
    answer = server.client.form(EDIT, ("prompt", "an apple"), *parts)
    assert answer.status == status, answer.body[:400]
    if status == 400:
        assert told in answer.error["message"]
    elif told:
        assert told in answer.headers["x-limner-notes"]


def test_bodies_that_are_too_large_or_not_clear(server: Running) -> None:
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    for row, found, status in (
        ("4", server.raw(f"Content-Length: {MIB + 20}"), b"413"),
        ("106", server.raw("X-Key: " + "x" * 20_000), b"431"),
        ("106", server.raw("X-Key: " + "x" * MIB), b"400"),  # no header is so large
        ("95", server.raw(f"Content-Length: {65 * MIB}", path=EDIT), b"413"),
        ("95", server.raw("Transfer-Encoding: chunked", chunk * 17), b"413"),
        ("96", server.raw("Content-Length: -1"), b"400"),
        ("96", server.raw("Content-Length: 2\r\nContent-Length: 3", b"{}"), b"400"),
        ("96", server.raw("Content-Length: 2\r\nTransfer-Encoding: chunked", b"{}"), b"400"),
        ("100", server.raw("Transfer-Encoding: chunked", b"ZZZ\r\n"), b"400"),
    ):
        assert found.split(b" ")[1] == status and found.count(b"HTTP/1.1 ") == 1, (row, found[:300])


@pytest.mark.slow
def test_who_is_slow_is_let_go(server: Running) -> None:  # 97
    host = f"Host: localhost\r\nAuthorization: Bearer {KEY}\r\n"
    body = f"POST {DRAW} HTTP/1.1\r\n{host}Content-Type: application/json\r\n"
    body += "Content-Length: 9\r\n\r\n{"
    with ThreadPoolExecutor(2) as pool:
        header = pool.submit(server.told, f"GET / HTTP/1.1\r\n{host}".encode())
        rest = pool.submit(server.told, body.encode())
        assert server.client.draw().status == 200  # meanwhile
        assert header.result() == b""
        assert rest.result().startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize(
    ("row", "headers", "status"),
    [
        ("98", {"Content-Type": "text/plain"}, 415),
        ("98", {"Content-Type": ""}, 415),
        ("98", {"Content-Type": "application/json; charset=utf-7"}, 415),
        ("99", {"Content-Encoding": "gzip"}, 415),
        ("106", {"Authorization": "Bearer wrong-0123456789"}, 401),
        ("106", {"Authorization": "Bearer "}, 401),
        ("106", {"Authorization": ""}, 401),
        ("107", {"Origin": "https://evil.example"}, 403),
        ("107", {"Origin": "null"}, 403),
        *(
            ("108", {"Host": host}, 403)
            for host in (
                "evil.example", "127.0.0.1.evil.com", "127.evil.com", "[::ffff:127.0.0.1]",
                "localhost.", "a/b", "a@b", "a?x#",
            )
        ),
    ],
    ids=lambda each: str(each)[:40],
)  # fmt: skip
def test_bad_headers(server: Running, row: str, headers: dict[str, str], status: int) -> None:
    answer = server.client.post(DRAW, {"prompt": "an apple"}, **headers)
    assert answer.status == status, answer.body
    assert not [each for each in answer.headers if each.startswith("access-control")]


def test_a_key_in_the_address_is_none_and_a_preflight_is_refused(server: Running) -> None:
    stranger = Client(server.client.port)
    assert stranger.get(f"/v1/models?api_key={KEY}").status == 401  # 106
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    assert stranger.ask("OPTIONS", DRAW, headers=headers).status == 403  # 107


@pytest.mark.parametrize(
    ("way", "path", "status"),
    [
        ("GET", "/nowhere", 404), ("GET", "//v1/models", 404), ("GET", "/v1/../v1/models", 404),
        ("GET", "/v1/%2e%2e/etc/passwd", 404), ("PUT", DRAW, 405), ("GET", DRAW, 405),
    ],
)  # fmt: skip
def test_bad_paths(server: Running, way: str, path: str, status: int) -> None:  # 109
    answer = server.client.ask(way, path)
    assert answer.status == status and ("allow" in answer.headers) == (status == 405)


def test_who_leaves_frees_a_place(server: Running) -> None:  # 110
    data = json.dumps({"prompt": "an apple", "n": 10}).encode()
    stream = json.dumps({"prompt": "an apple", "n": 10, "stream": True}).encode()
    sent = form_of(("prompt", "an apple"), ("image", bytes(100_000)))[0][:50_000]
    for number in range(50):
        body = (data, stream, sent)[number % 3]
        length = len(body) + 50_000 * (number % 3 == 2)
        head = f"POST {DRAW} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", server.client.port)) as sock:
            sock.sendall(head.encode() + body)
    wait_until(lambda: server.client.gauge("limner_queue_jobs") == 0, server.process)


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00", b"hello\r\n\r\n", os.urandom(500),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET " + b"/" * 20_000 + b" HTTP/1.1\r\n\r\n",
    ],
    ids=("TLS", "a word", "any bytes", "HTTP/2", "a long path"),
)  # fmt: skip
def test_what_is_no_http(server: Running, data: bytes) -> None:  # 111
    before = server.log.read_text(encoding="utf-8").count("\n")
    found = server.told(data, end=True)
    assert not found or found.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431", b"HTTP/1.1 403"))
    assert server.log.read_text(encoding="utf-8").count("\n") <= before + 1


def test_old_http_and_upgrades(server: Running) -> None:  # 111
    lines = "Connection: Upgrade, close\r\nUpgrade: h2c"
    for data in (
        "GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n",
        f"GET /healthz HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n\r\n",
    ):
        assert server.told(data.encode()).startswith(b"HTTP/1.1 200")


def test_idle_connections_make_room(server: Running) -> None:  # 112
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, IDLE + 500)), hard))
    idle = []
    try:
        for _ in range(IDLE):
            idle.append(socket.create_connection(("127.0.0.1", server.client.port), PATIENCE))
        assert server.client.draw().status == 200
        folder = Path(f"/proc/{server.process.pid}/fd")
        assert not folder.exists() or len(list(folder.iterdir())) <= 1024
    finally:
        for each in idle:
            each.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
