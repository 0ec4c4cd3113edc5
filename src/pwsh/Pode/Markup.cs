using System;
using System.Collections;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Management.Automation;
using System.Net;
using System.Text;
using System.Xml;

namespace SecretBridge.Pode;

/// <summary>Values as HTML and XML, in the forms of ConvertTo-Html and ConvertTo-Xml -NoTypeInformation.</summary>
public static class Markup
{
    private static readonly string[] Head =
    [
        """<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN"  "http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd">""",
        """<html xmlns="http://www.w3.org/1999/xhtml">""", "<head>", "<title>HTML TABLE</title>", "</head><body>", "<table>",
    ];

    /// <summary>A page with a table of the rows; the first says which columns there are.</summary>
    public static string Html(object? value)
    {
        List<Dictionary<string, object?>> rows = Items(value).Select(Members).ToList();
        List<string> lines = [.. Head];
        string[] names = rows.Count > 0 ? [.. rows[0].Keys] : [];
        if (names.Length > 0)
        {
            lines.Add($"<colgroup>{string.Concat(Enumerable.Repeat("<col/>", names.Length))}</colgroup>");
            lines.Add($"<tr>{string.Concat(names.Select(name => $"<th>{WebUtility.HtmlEncode(name)}</th>"))}</tr>");
        }
        foreach (Dictionary<string, object?> row in rows)
        {
            lines.Add($"<tr>{string.Concat(names.Select(name => $"<td>{WebUtility.HtmlEncode(PlainJson.Text(row.TryGetValue(name, out object? cell) ? cell : null))}</td>"))}</tr>");
        }
        lines.AddRange(["</table>", "</body></html>"]);
        return string.Join(Environment.NewLine, lines);
    }

    /// <summary>Objects with their properties, so deep.</summary>
    public static string Xml(object? value, int depth)
    {
        if (PlainJson.Bare(value) is XmlDocument document)
        {
            return document.OuterXml;
        }
        using MemoryStream memory = new();
        using (XmlWriter writer = XmlWriter.Create(memory, new XmlWriterSettings { Encoding = new UTF8Encoding(false), Indent = true, NewLineChars = Environment.NewLine }))
        {
            writer.WriteStartElement("Objects");
            foreach (object? item in Items(value))
            {
                WriteElement(writer, "Object", null, item, depth);
            }
            writer.WriteEndElement();
        }
        return Encoding.UTF8.GetString(memory.GetBuffer(), 0, (int)memory.Length);
    }

    private static void WriteElement(XmlWriter writer, string element, string? name, object? value, int depth)
    {
        writer.WriteStartElement(element);
        if (!string.IsNullOrEmpty(name))
        {
            writer.WriteAttributeString("Name", name);
        }
        object? bare = PlainJson.Bare(value);
        if (bare is string or ValueType || (bare is not null && depth <= 0))
        {
            writer.WriteString(PlainJson.Text(value));
        }
        else if (bare is IEnumerable items and not IDictionary)
        {
            foreach (object? item in items)
            {
                WriteElement(writer, "Property", null, item, depth - 1);
            }
        }
        else if (bare is not null)
        {
            foreach ((string member, object? content) in Members(value))
            {
                WriteElement(writer, "Property", member, content, depth - 1);
            }
        }
        writer.WriteEndElement();
    }

    // What PowerShell's `foreach` goes through.
    private static IEnumerable<object?> Items(object? value) =>
        LanguagePrimitives.GetEnumerable(value) is IEnumerable many ? many.Cast<object?>() : value is null ? [] : [value];

    // A table's entries, or an object's properties, in their order.
    private static Dictionary<string, object?> Members(object? row)
    {
        // It keeps the order as long as nothing is taken out.
        Dictionary<string, object?> members = new(StringComparer.OrdinalIgnoreCase);
        if (PlainJson.Bare(row) is IDictionary table)
        {
            foreach (DictionaryEntry entry in table)
            {
                members[PlainJson.Text(entry.Key)] = entry.Value;
            }
        }
        else if (row is not null)
        {
            foreach (PSPropertyInfo property in PSObject.AsPSObject(row).Properties)
            {
                members[property.Name] = property.Value;
            }
        }
        return members;
    }
}
