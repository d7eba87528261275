"""The page for people and the API for programs, below ``/notify`` of Airflow's API server."""
