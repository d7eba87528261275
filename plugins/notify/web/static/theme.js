// The theme before anything is painted: that of the Airflow page around us, else of its last visit, else of the system.
"use strict";
(() => {
  const root = document.documentElement;
  const around = () => {
    try {
      return window.parent !== window ? window.parent.document.documentElement : null;
    } catch {
      return null; // framed by another site: the policy forbids it, and this would only be a look
    }
  };
  const chosen = () => {
    const frame = around();
    if (frame) return frame.classList.contains("dark");
    const kept = localStorage.getItem("theme");
    return kept === "dark" || (kept !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  };
  const apply = () => {
    root.dataset.theme = chosen() ? "dark" : "light";
  };
  apply();
  const frame = around();
  if (frame) new MutationObserver(apply).observe(frame, { attributes: true, attributeFilter: ["class"] });
  addEventListener("storage", apply);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", apply);
})();
