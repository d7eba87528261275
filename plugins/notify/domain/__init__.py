"""The rules, free of Airflow, of SQL and of everything else of ours."""
