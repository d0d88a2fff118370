"""The videos of `lad demo`: short labelled clips of small surveillance scenes, drawn here frame by frame.

Three fixed cameras, a category each: a plaza (`panic`), a walkway (`falling`) and a back yard (`fire`). As in LAD2000
there is no normal class: a clip in which people only walk about keeps the category of its scene.
"""

from lad.demo.clips import make_clips, plan

__all__ = ["make_clips", "plan"]
