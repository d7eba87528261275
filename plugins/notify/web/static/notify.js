// Moments in the reader's own zone, links out of the frame, and forms without empty fields. All of it is a comfort.
"use strict";
(() => {
  const written = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
  for (const time of document.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.valueOf())) continue;
    time.title = time.textContent; // in UTC
    time.textContent = written.format(at);
  }
  // Airflow frames this page without the right to lead its window away; so the window is asked to go itself.
  for (const link of document.querySelectorAll("a[data-airflow]")) {
    link.addEventListener("click", (event) => {
      if (window.parent === window) return;
      event.preventDefault();
      const outside = window.parent.document.createElement("a");
      outside.href = link.href;
      outside.click();
    });
  }
  for (const form of document.querySelectorAll("form[method=get]")) {
    form.addEventListener("submit", () => {
      for (const field of form.elements) if (field.name && !field.value) field.disabled = true;
    });
  }
})();
