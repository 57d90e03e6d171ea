// Builds the page: sections that have something to show, and the list of them.

function build() {
  buildTop();
  const main = clear(document.getElementById('main'));
  const links = [];
  for (const { id, title, short, build: content } of SECTIONS) {
    const found = content();
    if (!found) continue;
    main.append(el('section', { id: `section-${id}`, 'aria-labelledby': `title-${id}`, tabindex: '-1' },
      el('h2', { id: `title-${id}` }, title), found));
    links.push(el('li', {}, el('a', { href: `#section-${id}`, 'data-section': id }, short)));
  }
  document.getElementById('nav').append(el('ul', {}, links));
  const made = new Date(PAGE.created_at * 1000);
  document.getElementById('foot').append(`Written by hposlurm ${PAGE.version} on ${made.toISOString().slice(0, 16).replace('T', ' ')} UTC. This file needs no network.`);
}

// The fragment holds the view, so that links to sections scroll without changing it
document.addEventListener('click', (event) => {
  const link = event.target.closest('a[data-section]');
  if (!link) return;
  event.preventDefault();
  const id = link.dataset.section;
  const target = document.getElementById(id === 'main' ? 'main' : `section-${id}`);
  target.scrollIntoView();
  target.focus({ preventScroll: true });
});

select();
build();

// A page that is written again and again while the study runs
if (PAGE.refresh_s && STUDIES.some((study) => ['running', 'not submitted'].includes(study.head.phase))) {
  setTimeout(() => location.reload(), PAGE.refresh_s * 1000);
}

// For tests and for the console
window.report = { PAGE, TRIALS, CHARTS, selected: () => SELECTED, hovered: () => HOVERED };
