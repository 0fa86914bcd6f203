"""Verbs of web services: count, fetch, look-up. Only queries and ids leave the machine."""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from components.cli.output import AsJson, print_json, print_some, progress_bars
from corpus.errors import CociteAtlasError

if TYPE_CHECKING:
    from corpus.sources.client import Client

SourceName = Literal["pubmed", "openalex", "semantic_scholar", "europe_pmc", "arxiv", "ir_datasets"]
SourceArgument = Annotated[SourceName, typer.Argument(help="The service.")]
QueryArgument = Annotated[str, typer.Argument(help="A query as the service writes it.")]


def add(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command("count")(count)
    app.command("fetch")(fetch)
    app.command("look-up")(look_up)


def _impatient_client() -> "Client":
    """For a question that a person waits for."""
    from corpus.sources.client import Client

    return Client(attempts=3, max_wait=15.0)


def count(source: SourceArgument, query: QueryArgument, as_json: AsJson = False) -> None:
    """Count the papers that a query finds in a service."""
    from corpus.sources.lookup import SOURCES

    with _impatient_client() as client:
        number = SOURCES[source].count(query, client=client)
    if as_json:
        print_json({"source": source, "query": query, "count": number})
    else:
        print(number)


def fetch(
    source: SourceArgument,
    query: QueryArgument,
    output: Annotated[Path, typer.Option(metavar="FILE", help="The JSON Lines file to write: .jsonl or .jsonl.gz.")],
    limit: Annotated[int | None, typer.Option(help="The maximum number of papers.")] = None,
    as_json: AsJson = False,
) -> None:
    """Fetch the papers of a query to a file, to build an atlas of. Resumes what was stopped."""
    from corpus.sources.client import Client
    from corpus.sources.fetch import PAPERS
    from corpus.sources.fetch import fetch as fetch_papers
    from corpus.sources.lookup import SOURCES

    if output.exists():
        raise CociteAtlasError(f"{output} exists. Choose another name, or delete it.")
    if output.suffix not in (".jsonl", ".gz"):
        raise CociteAtlasError(f"{output}: the file will be JSON Lines; let its name end in .jsonl or .jsonl.gz.")
    folder = output.with_name(f".{output.name}.fetching")
    with progress_bars(as_json=as_json) as progress, Client(cache=folder / "answers") as client:
        report = fetch_papers(SOURCES[source], query, folder, limit=limit, progress=progress, client=client)
    if report.kept:
        _finish(folder / PAPERS, output)
    shutil.rmtree(folder, ignore_errors=True)
    if not report.kept:
        raise CociteAtlasError(f"{report.summary()} Nothing was written.")
    if as_json:
        print_json({"fetched": str(output), **report.model_dump(exclude={"format", "cursor", "bytes"}, mode="json")})
        return
    print(report.summary())
    print_some([f"{problem.place}: {problem.reason}" for problem in report.problems])
    print(f"{output}: {report.kept:,} papers. Build an atlas of them: cocite build {output}")


def _finish(papers: Path, output: Path) -> None:
    from corpus.export import write_jsonl
    from corpus.readers import read

    try:
        if output.suffix == ".gz":
            with read(papers) as reading:
                write_jsonl(reading, output)
        else:
            papers.replace(output)
    except OSError as error:
        raise CociteAtlasError(
            f"{output} cannot be written ({error.strerror or error}). Choose another place."
        ) from error


def look_up(
    id: Annotated[str, typer.Argument(help="A DOI, PMID, PMCID, arXiv or Semantic Scholar id, or its web address.")],
    as_json: AsJson = False,
) -> None:
    """Look a paper up by its id."""
    from corpus.identifiers import parse_identifier
    from corpus.sources.lookup import look_up as look_up_paper

    identifier = parse_identifier(id)
    if identifier is None:
        raise CociteAtlasError(f"{id[:80]!r} is not an id. Give a DOI, PMID, PMCID, arXiv or Semantic Scholar id.")
    with _impatient_client() as client:
        paper = look_up_paper(identifier, client=client)
    if as_json:
        print_json(asdict(paper))
        return
    print(paper.title)
    print("; ".join(paper.authors[:10]) + ("; …" if len(paper.authors) > 10 else ""))
    print(", ".join(filter(None, (paper.venue, str(paper.year or ""), paper.url))))
    print(f"\n{paper.abstract or 'No service that has the paper has its abstract.'}")
