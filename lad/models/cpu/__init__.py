"""The form of Inception-I3D that a CPU runs fastest. Nobody who reads the network itself needs it."""
