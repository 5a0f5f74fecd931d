// What scrolls sideways can be scrolled by the keyboard.
document$.subscribe(() =>
  requestAnimationFrame(() => {
    for (const wide of document.querySelectorAll(".md-typeset__scrollwrap, .formula")) {
      wide.tabIndex = 0;
    }
  })
);
