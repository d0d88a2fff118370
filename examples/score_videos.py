"""Score videos with a trained detector, and print when something happened.

python examples/score_videos.py best.pt street.mp4 yard.mp4
"""

import sys

import lad

checkpoint, *videos = sys.argv[1:]
detector = lad.load(checkpoint)
for path, result in detector.score_many(videos):
    if isinstance(result, lad.VideoError):
        print(f"{path}: {result}")
        continue
    print(f"{path}: peak {result.frames.max():.3f} at {result.times[result.peak]:.1f} s, {len(result.events)} events")
    for event in result.events:
        print(f"  {event.start_time:.1f} s - {event.end_time:.1f} s  {event.category}, peak {event.peak:.3f}")
