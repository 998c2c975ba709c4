"""The main job on real input: every flight of a file told to its aircraft, while workers are being killed."""
