"""How videos get in: resumable uploads, files of the server's own folders, names."""
