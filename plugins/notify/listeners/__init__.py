"""What happens inside Airflow's own processes. Nothing here may load a database driver or commit."""
