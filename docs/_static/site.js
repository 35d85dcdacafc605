// What Sphinx leaves for the keyboard and for screen readers: code that scrolls can be reached, captions have a level,
// and a signature of several lines is no list of definitions.

addEventListener("DOMContentLoaded", () => {
  for (const caption of document.querySelectorAll("[role=heading]:not([aria-level])")) caption.ariaLevel = "2";
  for (const part of document.querySelectorAll("dt.sig > dl, dt.sig > dl > dd")) part.role = "none";
  const reachable = () => {
    for (const box of document.querySelectorAll("pre, .table-wrapper")) {
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  };
  addEventListener("resize", reachable);
  reachable();
});
