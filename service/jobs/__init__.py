"""The job core: tasks with leases and fencing tokens; the database is the queue."""
