"""Airflow's EmailOperator, mapped over recipients: one task a mail."""  # noqa: INP001 - a folder of DAGs is no package

from airflow.providers.smtp.operators.smtp import EmailOperator
from airflow.sdk import DAG

TEXT = "<p>Dear colleague,</p>" + "<p>the invoice <b>FV/2026/03/0417</b> waits for your approval since Monday.</p>" * 24

for count in (10, 60):
    with DAG(dag_id=f"email_operator_{count}", schedule=None, max_active_tasks=count):
        EmailOperator.partial(
            task_id="send",
            conn_id="mail_server",
            from_email="notify@example.com",
            subject="Invoice FV/2026/03/0417 waits for your approval",
            html_content=TEXT,
        ).expand(to=[f"person{number:07}@example.com" for number in range(count)])
