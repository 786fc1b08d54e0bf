"""Front end and job core: HTTP, jobs, storage. Never loads torch or a video decoder."""
