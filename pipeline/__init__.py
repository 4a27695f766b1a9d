"""Gallerist: hangs VM images in Azure Compute Galleries."""
