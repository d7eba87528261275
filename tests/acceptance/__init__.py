"""A package, so that the fixture of that scope ends Airflow with the last of these tests."""
