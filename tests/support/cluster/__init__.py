"""A real Kubernetes cluster for tests: control plane, machines with containerd and a kubelet.

It runs in the network, mount and process namespaces that `tests/e2e/run.sh` made, and all its
files are below one folder there, so that nothing outlives it whatever happens.
"""
