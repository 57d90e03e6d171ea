"""The report page: one self-contained HTML file about one or several studies, and its figures as files.

`study_page` turns a study's records into frozen data; `page_html` puts that data, the script and the style into a file.
May import what its room, report, may.
"""
