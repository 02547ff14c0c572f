"""The Kubernetes face: custom resources to commands. As little as possible.

Here belongs how resources are written (apiVersion, kind, YAML), and the controller that carries
them between an API server and the log; what they mean and whether they are allowed belongs in
`engine`.
"""
