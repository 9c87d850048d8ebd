CREATE INDEX observations_by_deployment ON observations (deployment, id)
