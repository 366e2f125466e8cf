"""Reports in three forms from one list of sections: text, JSON, and one HTML file.

section   what a part of a report is
numbers   how figures are written for people
table     columns of text for a terminal
page      the HTML page: one file, nothing fetched from anywhere
plots     SVG drawings that follow the page's colors
thumbnails  pictures in a report, blurred before they get there
"""
