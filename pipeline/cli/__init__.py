"""`gallerist`: upload, publish and look on from a terminal or a build. Not deployed with the function app."""
