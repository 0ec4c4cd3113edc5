using System;
using System.Collections;
using System.Collections.Generic;
using System.IO;
using System.Text;
using System.Text.RegularExpressions;

namespace SecretBridge.Pode;

/// <summary>
/// `multipart/form-data`. Fields go to `Data`, files to `Files` and their names to `Data`, as in Pode: several files of one field
/// are a list there, several values of one field a text with commas.
/// </summary>
internal static class Multipart
{
    private const RegexOptions HeaderOptions = RegexOptions.Multiline | RegexOptions.IgnoreCase | RegexOptions.CultureInvariant;

    private static readonly Regex Boundary = new("""boundary\s*=\s*("(?<b>[^"]+)"|(?<b>[^;\s]+))""", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant);
    private static readonly Regex Name = new("""^content-disposition:.*?[;\s]name=("(?<v>[^"]*)"|(?<v>[^;\s"]+))""", HeaderOptions);
    private static readonly Regex FileName = new("""^content-disposition:.*?[;\s]filename=("(?<v>[^"]*)"|(?<v>[^;\s"]+))""", HeaderOptions);
    private static readonly Regex FileType = new("""^content-type:\s*(?<v>\S+)""", HeaderOptions);

    internal static void Read(byte[] bytes, string contentType, Hashtable data, Hashtable files)
    {
        Match boundary = Boundary.Match(contentType);
        if (!boundary.Success)
        {
            throw new BadBodyException("the multipart body has no boundary");
        }
        JoinedTable fields = new(data);
        Dictionary<string, List<object>> names = new(StringComparer.CurrentCultureIgnoreCase);
        foreach (ReadOnlyMemory<byte> part in Split(bytes, Encoding.Latin1.GetBytes("\r\n--" + boundary.Groups["b"].Value)))
        {
            ReadPart(part.Span, fields, data, files, names);
        }
        fields.Finish();
        foreach ((string name, List<object> list) in names)
        {
            data[name] = list.Count == 1 ? list[0] : list.ToArray();
        }
    }

    // What stands between the boundaries; what is before the first and behind the last is nobody's.
    private static List<ReadOnlyMemory<byte>> Split(byte[] bytes, byte[] mark)
    {
        List<ReadOnlyMemory<byte>> parts = [];
        int from = bytes.AsSpan().StartsWith(mark.AsSpan(2)) ? mark.Length - 2 : -1;
        int at = from < 0 ? 0 : from;
        while (true)
        {
            int found = bytes.AsSpan(at).IndexOf(mark);
            if (found < 0)
            {
                break;
            }
            if (from >= 0)
            {
                parts.Add(bytes.AsMemory(from, at + found - from));
            }
            from = at = at + found + mark.Length;
        }
        if (from < 0 || !bytes.AsSpan(from).StartsWith("--"u8))
        {
            throw new BadBodyException("the multipart body is cut short");
        }
        return parts;
    }

    private static void ReadPart(ReadOnlySpan<byte> part, JoinedTable fields, Hashtable data, Hashtable files, Dictionary<string, List<object>> names)
    {
        int cut = part.IndexOf("\r\n\r\n"u8);
        if (cut < 0)
        {
            throw new BadBodyException("a part of the multipart body has no end of its headers");
        }
        string head = Encoding.UTF8.GetString(part[..cut]);
        byte[] content = part[(cut + 4)..].ToArray();
        Match found = Name.Match(head);
        if (!found.Success)
        {
            return;
        }
        string name = found.Groups["v"].Value;
        Match file = FileName.Match(head);
        if (!file.Success)
        {
            fields.Add(name, Encoding.UTF8.GetString(content));
            return;
        }
        string fileName = Path.GetFileName(file.Groups["v"].Value);
        if (fileName.Length > 0)
        {
            Match type = FileType.Match(head);
            Hashtable about = Values.NewTable();
            about["FileName"] = fileName;
            about["ContentType"] = type.Success ? type.Groups["v"].Value : "";
            about["Bytes"] = content;
            files[fileName] = about;
        }
        if (!names.TryGetValue(name, out List<object>? list))
        {
            names[name] = list = [];
            if (data[name] is object before)
            {
                list.Add(PlainJson.Text(before));
            }
        }
        list.Add(fileName);
    }
}
