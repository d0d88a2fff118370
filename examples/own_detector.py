"""Use the features for something of your own: here scikit-learn tells the clips of some videos from those of others.

python examples/own_detector.py normal1.mp4,normal2.mp4 fight1.mp4,fight2.mp4 new.mp4
"""

import sys

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import lad

BACKBONE = "i3d"
normal, abnormal, new = (argument.split(",") for argument in sys.argv[1:4])
features = {}
for path, result in lad.extract_many([*normal, *abnormal, *new], streams=["rgb"], backbone=BACKBONE):
    if isinstance(result, lad.VideoError):
        sys.exit(f"{path}: {result}")
    features[path] = result

clips = np.concatenate([features[path]["rgb"] for path in [*normal, *abnormal]])  # (clips, 1024)
labels = np.concatenate([np.full(len(features[path]["rgb"]), path in abnormal) for path in [*normal, *abnormal]])
model = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3)).fit(clips, labels)
for path in new:
    scores = model.predict_proba(features[path]["rgb"])[:, 1]
    for (start, end), score in zip(features[path].clip_times, scores, strict=True):
        print(f"{path}  {start:6.2f} s - {end:6.2f} s  {score:.3f}")
