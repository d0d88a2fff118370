"""The form of Inception-I3D that runs fastest on a CPU. Nobody needs it to understand the network itself."""
