"""The Kubernetes face: custom resources to commands. As little as possible.

Here belongs how resources are written (apiVersion, kind, YAML), the controller that carries them
between an API server and the log, the admission webhook, and the reading of a Spiderpool that is
taken over; what they mean and whether they are allowed belongs in `engine`.
"""
