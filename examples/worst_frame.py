"""Save the frame that a detector finds the most abnormal, as a picture.

python examples/worst_frame.py best.pt street.mp4 worst.png
"""

import sys

import av

import lad

checkpoint, video, picture = sys.argv[1:]
scores = lad.load(checkpoint).score(video)
with av.open(video) as container:
    for number, frame in enumerate(container.decode(video=0)):
        if number == scores.peak:
            frame.to_image().save(picture)
            break
print(f"frame {scores.peak}, {scores.times[scores.peak]:.2f} s, score {scores.frames[scores.peak]:.3f}: {picture}")
