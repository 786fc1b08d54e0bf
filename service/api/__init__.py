"""HTTP: routes, schemas, dependencies, error rendering."""
