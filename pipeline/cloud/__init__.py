"""The edge: the only modules that import Azure SDKs. They carry out; they never decide."""
