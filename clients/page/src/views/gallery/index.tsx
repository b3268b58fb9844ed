// The gallery: all images of a filter, which stands in the address.
import { useEffect } from "preact/hooks";
import { imageList, type ImageList } from "../../live/image_list";
import { readFilter, type Filter } from "../../live/image_filter";
import { route } from "../../route";
import { gallery as texts } from "../../texts";
import { Button } from "../../ui/Button";
import { Empty } from "../../ui/Empty";
import { Page } from "../../ui/Page";
import { Problem } from "../../ui/Problem";
import { Spinner } from "../../ui/Spinner";
import { Filters } from "./Filters";
import { geometryOf } from "./geometry";
import { Grid } from "./Grid";
import { SelectionBar } from "./SelectionBar";
import { beginAt, hasSelection } from "./selection";

export function GalleryView() {
  const filter = readFilter(route.value.query);
  const list = imageList(filter);
  const count = list.pages.value?.count;
  return (
    <Page title={texts.title} aside={count !== undefined && <p class="muted">{texts.count(count)}</p>}>
      <Filters filter={filter} />
      <Shown key={list.key} list={list} filter={filter} />
      {hasSelection.value && <SelectionBar />}
    </Page>
  );
}

function Shown({ list, filter }: { list: ImageList; filter: Filter }) {
  const pages = list.pages.value;
  const problem = list.problem.value;
  useNewest(list);
  useEffect(() => beginAt(list.key), [list.key]);
  return (
    <>
      {problem !== undefined && <Problem error={problem} />}
      {pages === undefined && problem === undefined && <Spinner told />}
      <Newer list={list} />
      {pages && pages.count > 0 && <Grid list={list} pages={pages} filter={filter} />}
      {pages?.count === 0 && <Nothing filter={filter} />}
      {pages && <Rest count={pages.count} />}
    </>
  );
}

/** At the top new images come by themselves; further down they would push away what the reader looks at. */
function useNewest(list: ImageList): void {
  useEffect(() => {
    const look = () => scrollY === 0 && list.newer.peek() > 0 && list.showNewest();
    const end = list.newer.subscribe(look);
    addEventListener("scroll", look, { passive: true });
    return () => {
      end();
      removeEventListener("scroll", look);
    };
  }, [list]);
}

function Newer({ list }: { list: ImageList }) {
  const count = list.newer.value;
  const show = () => {
    scrollTo(0, 0);
    list.showNewest();
  };
  return (
    <div class="newer" role="status">
      {count > 0 && (
        <Button icon="up" kind="main" onClick={show}>
          {texts.newer(count)}
        </Button>
      )}
    </div>
  );
}

function Nothing({ filter }: { filter: Filter }) {
  const isAll = Object.keys(filter).length === 0;
  return <Empty title={isAll ? texts.none : texts.noneFit}>{isAll ? texts.noneHint : texts.noneFitHint}</Empty>;
}

/** A browser has no room for more rows than it can place. */
function Rest({ count }: { count: number }) {
  const { shown } = geometryOf(Math.min(innerWidth, 1_248), count);
  return shown < count ? <p class="muted">{texts.rest(shown)}</p> : null;
}
