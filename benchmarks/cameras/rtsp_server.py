"""An RTSP server that loops a clip, as a camera would send it: run it with the Python of Debian's python3-gi.

    /usr/bin/python3 benchmarks/cameras/rtsp_server.py CLIP [CLIP ...] --port 8554 [--user NAME --password WORD]

A CLIP is an MP4 with H.264. The first is at rtsp://127.0.0.1:8554/cam0. It begins anew for each one who connects, and
again at its end. Prints `ready`, and from then on a line `CAMERA UNIX_TIME` whenever a clip begins. Needs the packages
python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good gstreamer1.0-plugins-bad.
"""

# mypy: ignore-errors
# It is for another Python, which has no types of gi.
import argparse
import sys
import threading
import time

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstApp, GstRtspServer  # noqa: E402, F401

H264 = "video/x-h264,stream-format=byte-stream,alignment=au"


def read_pictures(clip):
    """The clip's coded pictures: `(data, pts, dts, duration)` each, in nanoseconds."""
    pipeline = Gst.parse_launch(
        f'filesrc location="{clip}" ! qtdemux ! h264parse config-interval=-1 ! {H264} ! appsink name=out sync=false'
    )
    pipeline.set_state(Gst.State.PLAYING)
    out, pictures = pipeline.get_by_name("out"), []
    while sample := out.emit("pull-sample"):
        buffer = sample.get_buffer()
        pictures.append((buffer.extract_dup(0, buffer.get_size()), buffer.pts, buffer.dts, buffer.duration))
    pipeline.set_state(Gst.State.NULL)
    return pictures


def _shown(picture):
    return picture[1]


class Looped(GstRtspServer.RTSPMediaFactory):
    """A clip that begins again when it is over, one picture after the other at its own pace."""

    def __init__(self, name, clip):
        super().__init__()
        self._name = name
        self._pictures = read_pictures(clip)
        first, last = min(self._pictures, key=_shown), max(self._pictures, key=_shown)
        self._lasts = last[1] + last[3] - first[1]

    def do_create_element(self, url):
        return Gst.parse_launch(
            # The parser repeats what decoders need before key frames. The payloader would do so before each of their
            # slices, which cuts a picture of several slices in pieces.
            f"( appsrc name=camera is-live=true format=time caps={H264} ! h264parse config-interval=-1 "
            "! rtph264pay name=pay0 pt=96 )"
        )

    def do_configure(self, media):
        camera = media.get_element().get_by_name_recurse_up("camera")
        threading.Thread(target=self._play, args=[camera], daemon=True).start()

    def _play(self, camera):
        begun, loops = time.monotonic(), 0
        while True:
            print(self._name, time.time(), flush=True)
            for data, pts, dts, duration in self._pictures:
                before = loops * self._lasts
                time.sleep(max(begun + (before + dts) / Gst.SECOND - time.monotonic(), 0))
                buffer = Gst.Buffer.new_wrapped(data)
                buffer.pts, buffer.dts, buffer.duration = before + pts, before + dts, duration
                if camera.emit("push-buffer", buffer) != Gst.FlowReturn.OK:
                    return
            loops += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+")
    parser.add_argument("--port", type=int, default=8554)
    parser.add_argument("--user", default="")
    parser.add_argument("--password", default="")
    asked = parser.parse_args()
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(str(asked.port))
    if asked.user:
        server.set_auth(_passwords(asked.user, asked.password))
    for number, clip in enumerate(asked.clips):
        factory = Looped(f"cam{number}", clip)
        if asked.user:
            allowed = GstRtspServer.RTSPPermissions()
            allowed.add_permission_for_role("viewer", "media.factory.access", True)
            allowed.add_permission_for_role("viewer", "media.factory.construct", True)
            factory.set_permissions(allowed)
        server.get_mount_points().add_factory(f"/cam{number}", factory)
    if not server.attach(None):
        sys.exit(f"port {asked.port} is in use")
    print("ready", flush=True)
    GLib.MainLoop().run()


def _passwords(user, password):
    auth, token = GstRtspServer.RTSPAuth(), GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    return auth


if __name__ == "__main__":
    main()
