"""The page in a real browser, on the bundled model and a drawn scene."""

import hashlib
import json
import urllib.error
import urllib.request

import numpy as np
import PIL.Image
import pytest
from pycocotools.coco import COCO

from groundling.structures.detections import Detections
from pipeline.video.drawn_clips import CIRCLE, STAR, draw, write_clip

LABELS = "brown house\nblue oval\nyellow bolt\nblue house\ngreen star"
ALL = "0.05"


def fill(page, picture, labels):
    if picture is not None:
        page.locator("#picture input[type=file]").set_input_files(picture)
        page.locator("#picture img").wait_for()
    page.locator("#labels textarea").fill(labels)


def detect(page, picture, labels=LABELS):
    """Search a picture and wait until the result is shown."""
    fill(page, picture, labels)
    page.locator("#detect").click()
    page.locator("#summary b").first.wait_for()


def boxes(page) -> int:
    return int(page.locator("#summary b").first.inner_text().split()[0])


def move(page, slider, value):
    """Move a slider and wait for the answer."""
    before = page.locator("#summary ul").inner_html()
    number = page.locator(f"{slider} input[type=number]")
    number.fill(value)
    number.press("Tab")
    page.wait_for_function("before => document.querySelector('#summary ul').innerHTML != before", arg=before)


def shown_pixels(page) -> bytes:
    image = page.locator("#found img")
    image.wait_for()
    with urllib.request.urlopen(image.get_attribute("src")) as answer:
        return hashlib.sha256(answer.read()).digest()


def message(page) -> str:
    """Wait for a message, read it and close it."""
    toast = page.get_by_test_id("toast-body").first
    toast.wait_for()
    text = toast.inner_text()
    toast.get_by_test_id("toast-close").click()
    toast.wait_for(state="detached")
    return " ".join(text.split())


def save(page, button, folder):
    with page.expect_download() as download:
        page.locator(button).click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def test_upload_detect_move_sliders_and_save(open_page, server, scene, tmp_path):
    page = open_page()
    runs = server.runs
    detect(page, scene)
    assert boxes(page) == 4
    first = shown_pixels(page)
    assert page.locator("#summary li.found").count() == 4
    assert page.locator("#summary li.missing").inner_text().split() == ["green", "star", "0"]

    move(page, "#threshold", ALL)
    assert boxes(page) > 4
    move(page, "#threshold", "0.6")
    assert 0 < boxes(page) < 4
    assert shown_pixels(page) != first
    shown = boxes(page)
    page.get_by_role("tab", name="Table").click()
    rows = page.locator("#table [role=row][data-index]")
    rows.first.wait_for()
    assert rows.count() == shown
    assert server.runs == runs + 1

    found = Detections.from_json(save(page, "#save-json", tmp_path).read_text(encoding="utf-8"))
    assert (len(found), found.source, found.image_wh) == (shown, "scene.png", (448, 448))
    assert found.scores.min() > 0.6
    annotations = COCO(str(save(page, "#save-coco", tmp_path)))
    assert len(annotations.getAnnIds()) == shown
    with PIL.Image.open(save(page, "#save-picture", tmp_path)) as saved, PIL.Image.open(scene) as plain:
        assert saved.size == plain.size
        assert saved.convert("RGB").tobytes() == found.draw(plain.convert("RGB")).tobytes()
    assert server.runs == runs + 1


@pytest.mark.slow
def test_a_threshold_of_one_label(open_page, server, scene):
    page = open_page()
    detect(page, scene)
    runs = server.runs
    page.locator("#own button").first.click()
    page.get_by_role("spinbutton", name="blue oval").wait_for()
    own = page.get_by_role("spinbutton", name="blue oval")
    own.fill("0.95")
    own.press("Tab")
    page.wait_for_function("document.querySelectorAll('#summary li.found').length == 3")
    assert boxes(page) == 3
    assert "blue oval" in page.locator("#summary li.missing").first.inner_text()
    assert server.runs == runs


def test_a_mistake_is_a_message_and_the_page_goes_on(open_page, server, scene, tmp_path):
    broken = tmp_path / "holiday.png"
    broken.write_bytes(b"\x89PNG no picture")
    page = open_page()
    runs = server.runs
    page.locator("#detect").click()
    assert "No label is given" in message(page)
    fill(page, None, "cat")
    page.locator("#detect").click()
    assert "No picture is given" in message(page)
    page.locator("#picture input[type=file]").set_input_files(broken)
    page.locator("#picture img").wait_for(state="attached")
    page.locator("#detect").click()
    assert "'holiday.png' is not a readable picture" in message(page)
    page.get_by_label("Clear").or_(page.get_by_label("Remove")).first.click()
    fill(page, scene, "word " * 2000)
    page.locator("#detect").click()
    assert "tokens" in message(page)
    assert server.runs == runs
    detect(page, None)
    assert boxes(page) == 4
    assert "Traceback" not in server.text


def test_two_people_do_not_see_each_other(open_page, scene, tmp_path):
    other_scene = tmp_path / "other.png"
    PIL.Image.fromarray(np.full((90, 120, 3), 200, np.uint8)).save(other_scene)
    one, two = open_page(), open_page()
    detect(one, scene)
    assert two.locator("#found img").count() == 0
    assert two.locator("#save-json").is_disabled()
    fill(two, other_scene, "red star")
    two.locator("#detect").click()
    two.locator("#save-json:not([disabled])").wait_for()
    move(one, "#threshold", ALL)
    kept = json.loads(save(one, "#save-json", tmp_path).read_text(encoding="utf-8"))
    assert (kept["source"], kept["width"]) == ("scene.png", 448)
    own = json.loads(save(two, "#save-json", tmp_path).read_text(encoding="utf-8"))
    assert (own["source"], own["width"], own["labels"]) == ("other.png", 120, ["red star"])


@pytest.mark.slow
def test_the_camera(open_page, server):
    page = open_page()
    runs = server.runs
    page.get_by_label("Capture from camera").click()
    page.get_by_text("Click to Access Webcam").click()
    page.wait_for_function("[...document.querySelectorAll('video')].some(v => v.readyState >= 2 && v.videoWidth > 0)")
    page.get_by_label("capture photo").click()
    page.locator("#picture img").wait_for()
    page.locator("#labels textarea").fill("green circle")
    page.locator("#detect").click()
    page.locator("#save-json:not([disabled])").wait_for()
    assert server.runs == runs + 1


def test_look_inside(open_page, server, scene):
    page = open_page()
    detect(page, scene)
    runs = server.runs
    page.get_by_role("tab", name="Look inside").click()
    page.locator("#look").click()
    page.locator("#scores img").wait_for()
    first = page.locator("#overlay img").get_attribute("src")
    assert page.locator("#word input").input_value() == "brown house"
    page.locator("#word input").click()
    page.get_by_role("option", name="blue oval").click()
    page.wait_for_function("before => document.querySelector('#overlay img').src != before", arg=first)
    second = page.locator("#overlay img").get_attribute("src")
    page.locator("#kind").get_by_text("where it looks").click()
    page.wait_for_function("before => document.querySelector('#overlay img').src != before", arg=second)
    assert server.runs == runs + 1
    page.locator("#detect").click()
    page.locator("#overlay img").wait_for(state="detached")


def test_video(open_page, tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", draw([STAR, CIRCLE], [number / 25 for number in range(20)]))
    page = open_page()
    page.get_by_role("tab", name="Video").click()
    page.locator("#track").click()
    assert "No label is given" in message(page)
    page.locator("#video-labels textarea").fill("red star, blue circle")
    page.locator("#track").click()
    assert "No video is given" in message(page)
    page.locator("#video input[type=file]").set_input_files(clip)
    page.locator("#video video").wait_for()
    page.locator("#track").click()
    page.locator("#annotated video").wait_for()
    assert "20 frames" in page.locator("#video-summary").inner_text()
    assert page.locator("#things [role=row][data-index]").count() == 2
    page.wait_for_function("document.querySelector('#annotated video').videoWidth == 224")
    lines = save(page, "#save-tracks", tmp_path).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["frame"] for line in lines] == list(range(20))
    assert {item["label"] for line in lines for item in json.loads(line)["detections"]} == {"red star", "blue circle"}


@pytest.mark.slow
def test_a_video_is_stopped(open_page, server, tmp_path):
    clip = write_clip(tmp_path / "long.mp4", draw([STAR], [0.0]) * 400)
    page = open_page()
    page.get_by_role("tab", name="Video").click()
    page.locator("#video input[type=file]").set_input_files(clip)
    page.locator("#video video").wait_for()
    page.locator("#video-labels textarea").fill("red star")
    page.locator("#every input[type=number]").fill("1")
    page.locator("#track").click()
    page.get_by_text("of about 400").wait_for()
    page.locator("#stop").click()
    page.get_by_text("Stopped.").wait_for()
    page.wait_for_timeout(1500)
    assert page.locator("#video-summary").inner_text().strip() == "Stopped."
    (files,) = server.log.parent.glob("groundling-app-*")
    assert not list(files.glob("made/*/long*"))
    assert "A video was searched: 400" not in server.text


def test_the_browser_is_told_to_ask_nobody_else(chromium, server):
    with urllib.request.urlopen(server.address) as answer:
        policy = answer.headers["Content-Security-Policy"].split("; ")
    for rule in ("default-src 'self' data: blob:", "form-action 'self'", "base-uri 'self'", "frame-ancestors 'none'"):
        assert rule in policy
    page = chromium.new_page()
    page.goto(server.address)
    blocked = """() => new Promise(done => {
        document.addEventListener('securitypolicyviolation', event => done(event.blockedURI));
        fetch('https://example.org/picture.png').catch(() => {});
    })"""
    assert page.evaluate(blocked).startswith("https://example.org")
    sent = """() => new Promise(done => {
        document.addEventListener('securitypolicyviolation', event => done(event.effectiveDirective));
        const form = document.createElement('form');
        form.action = 'https://example.org/';
        document.body.append(form);
        form.submit();
    })"""
    assert page.evaluate(sent) == "form-action"
    page.close()


def test_another_site_cannot_use_the_page(chromium, server):
    page = chromium.new_page()
    page.route("http://evil.example/", lambda route: route.fulfill(body="<p>A page of someone else.</p>"))
    page.goto("http://evil.example/")
    post = """async address => {
        const form = new FormData();
        form.append('files', new Blob(['a']), 'a.png');
        const answer = await fetch(address, {method: 'POST', mode: 'no-cors', body: form}).catch(() => 'refused');
        return answer === 'refused' || answer.type;
    }"""
    met = []
    page.on("response", lambda answer: met.append(answer.status))
    page.evaluate(post, f"{server.address}/gradio_api/upload")
    assert met in ([], [403])  # a browser may refuse by itself
    page.goto(f"{server.address}/")
    page.locator("#detect").wait_for()
    page.close()


def test_the_server_asks_nobody_else(open_page, server, scene):
    page = open_page()
    detect(page, scene)
    assert server.outward.read_text(encoding="utf-8") == ""


@pytest.mark.slow
def test_an_example_is_drawn(open_page):
    page = open_page()
    page.locator("#example").click()
    page.locator("#picture img").wait_for()
    page.wait_for_function("document.querySelector('#labels textarea').value != ''")
    page.locator("#detect").click()
    page.locator("#summary b").first.wait_for()
    assert boxes(page) > 0


def status_of(address) -> int:
    try:
        with urllib.request.urlopen(address) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.parametrize("path", ["docs", "redoc", "openapi.json", "gradio_api/file=/etc/hostname", "monitoring"])
def test_only_the_page_is_served(server, path):
    assert status_of(server.address) == 200
    assert status_of(f"{server.address}/{path}") in (403, 404)
