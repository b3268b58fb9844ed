// The shell around the views: signing in, navigation, banners, messages, questions.
import { useEffect, useRef } from "preact/hooks";
import { Banners } from "./Banners";
import { route, href, type View } from "./route";
import { isExpired, session, signOut } from "./session/session";
import { SignInAgain, SignInPage } from "./session/SignIn";
import { common, signIn as signInTexts, views as titles } from "./texts";
import { ConfirmDialog } from "./ui/ConfirmDialog";
import { Icon, type IconName } from "./ui/Icon";
import { IconButton } from "./ui/IconButton";
import { Toasts } from "./ui/Toasts";
import { CareView } from "./views/care";
import { GalleryView } from "./views/gallery";
import { CompareView } from "./views/image/compare";
import { ImageView } from "./views/image";
import { MakeView } from "./views/make";
import { NowView } from "./views/now";
import { StoryView } from "./views/story";

const SHOWN = {
  now: NowView,
  gallery: GalleryView,
  image: ImageView,
  compare: CompareView,
  story: StoryView,
  make: MakeView,
  care: CareView,
} as const satisfies Record<View, () => unknown>;

/** The views that one can choose at any time; the others need something to show. */
const PLACES: readonly (IconName & View)[] = ["now", "gallery", "make", "care"];

export function App() {
  if (session.value === undefined && !isExpired.value) return <SignInPage />;
  return (
    <>
      <Views />
      {isExpired.value && <SignInAgain />}
    </>
  );
}

function Views() {
  const { view } = route.value;
  const Shown = SHOWN[view];
  return (
    <>
      <a class="skip" href="#content" onClick={skip}>
        {common.skip}
      </a>
      <Navigation view={view} />
      <Banners />
      <main id="content" class="content" tabIndex={-1} ref={useFocusOnChange(view)}>
        <Shown />
      </main>
      <Toasts />
      <ConfirmDialog />
    </>
  );
}

function Navigation({ view }: { view: View }) {
  return (
    <nav class="navigation" aria-label={common.navigation}>
      <span class="brand">{common.product}</span>
      <ul>
        {PLACES.map((place) => (
          <li key={place}>
            <a href={href(place)} aria-current={place === view ? "page" : undefined}>
              <Icon name={place} />
              {titles[place]}
            </a>
          </li>
        ))}
      </ul>
      <Person />
    </nav>
  );
}

/** Who is signed in, and what they may do. */
function Person() {
  const { label, right = "read", readAll } = session.value ?? {};
  const words = [label, signInTexts.rights[right], readAll === false && signInTexts.ownOnly].filter(Boolean).join(" · ");
  return (
    <div class="navigation-end">
      <span class="person" title={words}>
        {words}
      </span>
      <IconButton icon="out" label={signInTexts.signOut} onClick={signOut} />
    </div>
  );
}

/** The hash is the route, so the link's own target would leave the view. */
function skip(event: MouseEvent): void {
  event.preventDefault();
  document.getElementById("content")?.focus();
}

/** A new view takes the focus, so that keyboards and screen readers begin at its top; the first one does not. */
function useFocusOnChange(view: View) {
  const main = useRef<HTMLElement>(null);
  const before = useRef(view);
  useEffect(() => {
    const hasFocus = main.current?.contains(document.activeElement); // a view may have put it where the reader was
    if (before.current !== view && !hasFocus) main.current?.focus({ preventScroll: true });
    before.current = view;
  }, [view]);
  return main;
}
